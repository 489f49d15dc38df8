//! What a client takes: the media types of `Accept`, each with its quality.

use axum::http::{HeaderMap, header};

/// The client's wishes. No header at all takes everything.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Accept(Vec<(String, f32)>);

impl Accept {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let sent = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        Self(sent.flat_map(|value| value.split(',')).filter_map(weighted).collect())
    }

    /// Whether something of that type is taken: what names it best decides.
    pub(super) fn takes(&self, kind: &str) -> bool {
        self.0.is_empty() || self.quality(kind) > 0.0
    }

    /// The one of these that the client likes best, the first when it likes none better.
    pub(super) fn best<'a>(&self, kinds: &[&'a str]) -> Option<&'a str> {
        let mut best: Option<(&str, f32)> = None;
        for kind in kinds {
            let quality = if self.0.is_empty() { 1.0 } else { self.quality(kind) };
            if quality > best.map_or(0.0, |(_, found)| found) {
                best = Some((*kind, quality));
            }
        }
        best.map(|(kind, _)| kind)
    }

    fn quality(&self, kind: &str) -> f32 {
        let family = kind.split_once('/').map(|(family, _)| format!("{family}/*")).unwrap_or_default();
        let named = |name: &str| self.0.iter().find(|(found, _)| found == name).map(|(_, quality)| *quality);
        named(kind).or_else(|| named(&family)).or_else(|| named("*/*")).unwrap_or(0.0)
    }
}

/// Whether the client takes gzip, which is the one coding there is.
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let sent = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let codings = sent.flat_map(|value| value.split(',')).filter_map(weighted).collect::<Vec<_>>();
    let named = |name: &str| codings.iter().find(|(found, _)| found == name).map(|(_, quality)| *quality);
    named("gzip").or_else(|| named("*")).is_some_and(|quality| quality > 0.0)
}

/// A name and its `q`, other parameters left out.
fn weighted(item: &str) -> Option<(String, f32)> {
    let mut parts = item.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let quality = parts.find_map(|parameter| parameter.strip_prefix("q=").map(|text| text.parse().unwrap_or(1.0)));
    (!name.is_empty()).then(|| (name, quality.unwrap_or(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, text.parse().unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn json_is_taken_by_name_family_or_everything() {
        const JSON: &str = "application/json";
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/*",
            "*/*",
            "text/html,application/json;q=0.9",
            "text/html, */*;q=0.1",
            "",
        ] {
            assert!(accept(good).takes(JSON), "{good}");
        }
        for bad in ["text/plain", "application/xml", "application/json;q=0", "application/json;q=0.0, */*", "text/*"] {
            assert!(!accept(bad).takes(JSON), "{bad}");
        }
    }

    #[test]
    fn the_greater_quality_wins() {
        let kinds = ["text/plain", "application/json"];
        assert_eq!(accept("*/*").best(&kinds), Some("text/plain"));
        assert_eq!(accept("text/plain;q=0.5, application/json").best(&kinds), Some("application/json"));
        assert_eq!(accept("image/png").best(&kinds), None);
        assert_eq!(Accept(Vec::new()).best(&kinds), Some("text/plain"));
    }

    #[test]
    fn gzip_is_only_for_who_asks_for_it() {
        let takes = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, text.parse().unwrap());
            takes_gzip(&headers)
        };
        assert!(takes("gzip, deflate") && takes("br;q=1.0, gzip;q=0.8") && takes("*"));
        assert!(!takes("identity") && !takes("gzip;q=0") && !takes("gzip;q=0, *") && !takes_gzip(&HeaderMap::new()));
    }
}
