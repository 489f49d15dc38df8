//! What a client asks for over ssh: the one text that anybody with a key sends us.

#![no_main]

use paas::receive::fuzzing::{Asked, parse_request};

libfuzzer_sys::fuzz_target!(|command: &str| {
    match parse_request(command) {
        // The names that a command leads to are labels: no path, no option, nothing for a shell.
        Ok(Asked::Repository(names)) => {
            for name in names {
                let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
                assert!(plain && !name.is_empty() && !name.starts_with('-'), "{name:?}");
            }
        }
        // Those are arguments of our own command line, and of no program of git's.
        Ok(Asked::Command(words)) => {
            assert!(!words.first().is_some_and(|verb| verb.starts_with("git")), "{words:?}");
            assert!(!words.iter().any(|word| word.contains(|c: char| c.is_control())), "{words:?}");
        }
        // It goes back to a terminal.
        Err(refusal) => assert!(!refusal.contains(|c: char| c.is_control()), "{refusal:?}"),
    }
});
