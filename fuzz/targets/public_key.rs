//! A public key as somebody pastes it; what it becomes stands in a line that sshd obeys.

#![no_main]

use paas::accounts::PublicKey;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    match PublicKey::parse(text) {
        Ok(key) => {
            let line = key.to_string();
            let plain = line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" +/=@.-".contains(&byte));
            assert!(plain && line.split(' ').count() == 2, "{line:?}");
            assert!(!key.comment().contains(|c: char| c.is_control()), "{:?}", key.comment());
            // Written and read again it is the same key, also in the parts that sshd gives.
            let again = PublicKey::parse(line.as_bytes()).expect("what was written out is a key");
            assert_eq!((again.fingerprint(), again.to_string()), (key.fingerprint(), line.clone()));
            let (key_type, data) = line.split_once(' ').expect("a type and data");
            let parts = PublicKey::from_parts(key_type, data).expect("the same in two parts");
            assert_eq!(parts.fingerprint(), key.fingerprint());
        }
        // It goes to a terminal.
        Err(invalid) => assert!(!invalid.to_string().contains(|c: char| c.is_control()), "{invalid}"),
    }
});
