//! Which pages of other servers may read answers.

use axum::http::{HeaderMap, HeaderValue, header};

/// Adds Marathon's headers for them, when the engine was told to: pages may look, and change nothing.
pub(super) fn allow(origins: &[String], asked: &HeaderMap, answer: &mut HeaderMap) {
    if origins.is_empty() {
        return;
    }
    let origin = asked.get(header::ORIGIN);
    let known = origins.iter().find(|known| *known == "*" || origin.is_some_and(|origin| origin == known.as_str()));
    // Without an origin that counts, the first is as good as any to say whose pages may read.
    let shown = known.or(origins.first().filter(|_| origin.is_none()));
    answer.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(shown) = shown.and_then(|shown| HeaderValue::from_str(shown).ok()) else { return };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, shown);
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    if let Some(headers) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(origins: &[&str], origin: Option<&str>) -> Option<String> {
        let origins = origins.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (mut asked, mut answer) = (HeaderMap::new(), HeaderMap::new());
        asked.extend(origin.map(|origin| (header::ORIGIN, origin.parse().unwrap())));
        allow(&origins, &asked, &mut answer);
        let shown = answer.get(header::ACCESS_CONTROL_ALLOW_ORIGIN)?;
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD, OPTIONS");
        Some(shown.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_pages_of_origins_that_were_named_may_read() {
        let both = ["http://a", "http://b"];
        assert_eq!(answered(&[], Some("http://a")), None);
        assert_eq!(answered(&["*"], Some("http://a")).as_deref(), Some("*"));
        assert_eq!(answered(&both, Some("http://b")).as_deref(), Some("http://b"));
        assert_eq!(answered(&both, Some("http://c")), None);
        assert_eq!(answered(&both, None).as_deref(), Some("http://a"));
    }
}
