//! `paas.yml` of whoever may push.

#![no_main]

use paas::manifest::Manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::read(bytes) {
        for tenant in manifest.tenants() {
            let own = manifest.for_tenant(tenant);
            assert_eq!(own.tenants().count(), 0, "a tenant's part has no tenants of its own");
        }
        // What goes into the environment of a process.
        for (name, value) in &manifest.env {
            assert!(!name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'), "{name:?}");
        }
    }
});
