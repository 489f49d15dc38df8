//! What `stack/` holds, carried in the program: an installed `paas` makes the builder image anywhere.

use sha2::{Digest as _, Sha256};

/// A file of the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct StackFile {
    /// Where it lies in the image, without the leading slash.
    pub path: &'static str,
    pub executable: bool,
    pub bytes: &'static [u8],
}

macro_rules! files {
    ($folder:literal, $($kind:ident $path:literal),* $(,)?) => {
        &[$(StackFile {
            path: $path,
            executable: matches!(stringify!($kind).as_bytes(), b"program"),
            bytes: include_bytes!(concat!("../../stack/", $folder, "/", $path)),
        }),*]
    };
}

/// What the image gets: the buildstep contract and the buildpacks.
pub(super) const IMAGE: &[StackFile] = files![
    "image",
    program "exec",
    program "start",
    program "build/builder",
    program "build/lib/build",
    text "build/lib/buildpacks.sh",
    text "build/lib/cache.sh",
    text "build/lib/environment.sh",
    text "build/lib/output.sh",
    text "build/lib/processes.sh",
    program "build/lib/run",
    text "build/lib/user.sh",
    program "build/buildpacks/nodejs/bin/compile",
    program "build/buildpacks/nodejs/bin/detect",
    text "build/buildpacks/nodejs/bin/facts.js",
    program "build/buildpacks/nodejs/bin/release",
    text "build/buildpacks/nodejs/hint",
    text "build/buildpacks/nodejs/looks-for",
    program "build/buildpacks/procfile/bin/compile",
    program "build/buildpacks/procfile/bin/detect",
    program "build/buildpacks/procfile/bin/release",
    text "build/buildpacks/procfile/hint",
    text "build/buildpacks/procfile/looks-for",
    program "build/buildpacks/python/bin/compile",
    program "build/buildpacks/python/bin/detect",
    program "build/buildpacks/python/bin/release",
    text "build/buildpacks/python/hint",
    text "build/buildpacks/python/looks-for",
    program "build/buildpacks/static/bin/compile",
    program "build/buildpacks/static/bin/detect",
    program "build/buildpacks/static/bin/release",
    text "build/buildpacks/static/hint",
    text "build/buildpacks/static/looks-for",
    program "build/buildpacks/static/serve",
];

/// What makes a root file system the image's base; gone again when it is done. Lies in [`PROVISION_FOLDER`].
pub(super) const PROVISION: &[StackFile] = files!["provision", program "provision", text "take-npm.js"];

/// Where [`PROVISION`] is put, below the root.
pub(super) const PROVISION_FOLDER: &str = "tmp/stack";

/// The hash of names, modes and contents.
pub(super) fn hash(files: &[StackFile]) -> Sha256 {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(format!("{} {} {}\n", file.path, file.executable, file.bytes.len()));
        hash.update(file.bytes);
    }
    hash
}

/// The files as a tar archive, below `folder`, all root's.
pub(super) fn append(archive: &mut tar::Builder<Vec<u8>>, folder: &str, files: &[StackFile]) -> std::io::Result<()> {
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.bytes.len() as u64);
        header.set_mode(if file.executable { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let path = if folder.is_empty() { file.path.to_owned() } else { format!("{folder}/{}", file.path) };
        archive.append_data(&mut header, path, file.bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    /// Every file below the folder, with whether it can be run.
    fn on_disk(folder: &str) -> BTreeMap<String, bool> {
        fn walk(at: &Path, root: &Path, found: &mut BTreeMap<String, bool>) {
            for entry in std::fs::read_dir(at).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), root, found);
                } else {
                    let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, entry.metadata().unwrap().permissions().mode() & 0o111 != 0);
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack").join(folder);
        let mut found = BTreeMap::new();
        walk(&root, &root, &mut found);
        found
    }

    fn carried(files: &[StackFile]) -> BTreeMap<String, bool> {
        files.iter().map(|file| (file.path.to_owned(), file.executable)).collect()
    }

    #[test]
    fn all_of_the_folder_is_carried_with_its_modes() {
        assert_eq!(carried(IMAGE), on_disk("image"));
        assert_eq!(carried(PROVISION), on_disk("provision"));
    }

    #[test]
    fn the_hash_changes_with_names_modes_and_contents() {
        let file = StackFile { path: "a", executable: false, bytes: b"x" };
        let hash = |file| hash(&[file]).finalize();
        let others = [
            StackFile { path: "b", ..file },
            StackFile { executable: true, ..file },
            StackFile { bytes: b"y", ..file },
        ];
        assert!(others.into_iter().all(|other| hash(other) != hash(file)));
        assert_eq!(hash(file), hash(file));
    }

    #[test]
    fn the_archive_keeps_modes_and_belongs_to_root() {
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "tmp/stack", PROVISION).unwrap();
        let bytes = archive.into_inner().unwrap();
        let mut read = tar::Archive::new(bytes.as_slice());
        let first = read.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(first.path().unwrap().to_str().unwrap(), "tmp/stack/provision");
        assert_eq!((first.header().mode().unwrap(), first.header().uid().unwrap()), (0o755, 0));
    }
}
