//! A token as somebody gives it: whoever has one may join a tenant or deploy to it.

#![no_main]

use paas::accounts::tokens::Token;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Token::parse(text) {
        Ok(token) => {
            let value = token.expose();
            assert_eq!(value, text.trim());
            assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{value:?}");
            assert!(!format!("{token:?}").contains(value), "a token shows itself");
            assert_eq!(Token::parse(value).expect("it was one").id(), token.id());
        }
        // It goes to a terminal, and must not hold what was given.
        Err(invalid) => {
            let words = invalid.to_string();
            assert!(!words.contains(|c: char| c.is_control()), "{words:?}");
            // No word of the messages is as long as what is secret in a token.
            let secrets = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| run.len() >= 16);
            secrets.for_each(|run| assert!(!words.contains(run), "{words:?}"));
        }
    }
});
