//! Images of the layers of another: the same content under other labels.
//!
//! Docker takes an archive of images whose layers it has already without those layers, so that nothing is copied but the
//! configuration (tried with Docker 20.10).

use std::collections::{BTreeMap, HashMap};

use bollard::errors::Error;
use bollard::models::ImageInspect;
use bollard::query_parameters::ImportImageOptions;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use serde_json::json;

use super::registry::digest_of;
use super::{Docker, DockerError};
use crate::model::ImageId;

impl Docker {
    /// An image with the layers and the configuration of `id` and these labels on top of its own. None, when this Docker
    /// does not take an image whose layers it is not given.
    pub async fn copy_image(
        &self,
        id: &ImageId,
        labels: HashMap<String, String>,
    ) -> Result<Option<ImageId>, DockerError> {
        let failed = |cause| self.failure(format!("look at the image `{id}`"), cause);
        let found = self.api().await?.inspect_image(id.as_str()).await.map_err(failed)?;
        let Some(Copied { image, archive }) = copied(found, labels) else { return Ok(None) };
        let options = ImportImageOptions { quiet: true, platform: None };
        let loaded = self.api().await?.import_image(options, bollard::body_full(archive), None);
        match loaded.try_for_each(|_| std::future::ready(Ok(()))).await {
            Ok(()) => Ok(self.image(image.as_str()).await?.map(|copy| copy.id)),
            Err(Error::DockerStreamError { .. } | Error::DockerResponseServerError { .. }) => Ok(None),
            Err(cause) => Err(self.failure(format!("copy the image `{id}`"), cause)),
        }
    }
}

/// An image that is not there yet.
struct Copied {
    image: ImageId,
    /// As Docker loads it.
    archive: Bytes,
}

/// None, when Docker did not say what it consists of.
fn copied(found: ImageInspect, labels: HashMap<String, String>) -> Option<Copied> {
    let (mut config, layers) = (found.config?, found.root_fs?.layers?);
    config.labels.get_or_insert_default().extend(labels);
    // By their names alone: a map has no order, and the same image is to have the same id each time.
    let labels: BTreeMap<String, String> = config.labels.take()?.into_iter().collect();
    let mut config = serde_json::to_value(config).ok()?;
    config["Labels"] = json!(labels);
    let configuration = json!({
        "architecture": found.architecture?,
        "os": found.os?,
        "created": serde_json::to_value(found.created?).ok()?,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": layers},
    });
    let configuration = configuration.to_string();
    let digest = digest_of(configuration.as_bytes());
    let name = format!("{}.json", digest.as_str().trim_start_matches("sha256:"));
    let places: Vec<String> = layers.iter().map(|layer| format!("{}/layer.tar", layer.replace(':', "-"))).collect();
    let manifest = json!([{"Config": name, "RepoTags": null, "Layers": places}]).to_string();
    let archive = archive_of(&[(&name, &configuration), ("manifest.json", &manifest)]);
    Some(Copied { image: digest.as_str().parse().ok()?, archive: archive.into() })
}

/// A tar archive of small files: name and content.
pub fn archive_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, name, content.as_bytes()).expect("memory takes whatever is written");
    }
    tar.into_inner().expect("memory takes whatever is written")
}

#[cfg(test)]
mod tests {
    use bollard::models::{ImageConfig, ImageInspectRootFs};

    use super::*;

    fn slug() -> ImageInspect {
        ImageInspect {
            architecture: Some("amd64".to_owned()),
            os: Some("linux".to_owned()),
            created: serde_json::from_value(json!("2026-11-30T12:00:00.123456789Z")).unwrap(),
            config: Some(ImageConfig {
                cmd: Some(vec!["/start".to_owned(), "web".to_owned()]),
                exposed_ports: Some(vec!["80/tcp".to_owned()]),
                labels: Some(HashMap::from([("paas.tenant", "dev"), ("kept", "yes")].map(owned))),
                ..ImageConfig::default()
            }),
            root_fs: Some(ImageInspectRootFs {
                typ: "layers".to_owned(),
                layers: Some(vec![format!("sha256:{}", "a".repeat(64))]),
            }),
            ..ImageInspect::default()
        }
    }
    fn owned((name, value): (&str, &str)) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }
    fn prod() -> HashMap<String, String> {
        HashMap::from([("paas.tenant", "prod"), ("paas.app", "shop"), ("paas.push", "")].map(owned))
    }

    #[test]
    fn a_copy_has_the_layers_and_the_configuration_and_the_new_labels() {
        let copy = copied(slug(), prod()).unwrap();
        let mut files = HashMap::new();
        for entry in tar::Archive::new(&*copy.archive).entries().unwrap() {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            files.insert(path, serde_json::from_reader::<_, serde_json::Value>(entry).unwrap());
        }
        let name = format!("{}.json", copy.image.as_str().trim_start_matches("sha256:"));
        assert_eq!(files["manifest.json"][0]["Config"], name);
        let image = &files[&name];
        assert_eq!(image["rootfs"]["diff_ids"], json!([format!("sha256:{}", "a".repeat(64))]));
        assert_eq!(image["config"]["Cmd"], json!(["/start", "web"]));
        assert_eq!(image["config"]["ExposedPorts"], json!({"80/tcp": {}}));
        let labels = json!({"paas.tenant": "prod", "kept": "yes", "paas.app": "shop", "paas.push": ""});
        assert_eq!(image["config"]["Labels"], labels);
    }

    #[test]
    fn the_same_copy_has_the_same_id() {
        let id = || copied(slug(), prod()).unwrap().image;
        assert!((0..20).all(|_| id() == id()));
    }

    #[test]
    fn what_docker_does_not_tell_of_is_not_copied() {
        assert!(copied(ImageInspect { root_fs: None, ..slug() }, prod()).is_none());
    }
}
