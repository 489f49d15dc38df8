//! One entry of a tar archive, under exactly the name that it has in the tree.
//!
//! The tar crate's own way of naming takes a path apart and puts it together again: a symlink to `./a//b` would point at
//! `a/b`, and a long name that begins with a byte that is no text would be refused.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use tar::{Builder, EntryType, Header};

/// What GNU's tar calls an entry that holds a name too long for a header.
const LONG: &[u8] = b"././@LongLink";

/// Adds the entry; `header` says all of it but its name.
pub(super) fn append(
    tar: &mut Builder<impl Write>,
    mut header: Header,
    path: &Path,
    content: impl Read,
) -> io::Result<()> {
    let name = path.as_os_str().as_bytes();
    // git refused such a tree when it came in, and whoever unpacks this should not have to.
    if name.split(|byte| *byte == b'/').any(|part| matches!(part, b"" | b"." | b"..")) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("no archive has a place for `{}`", path.display()),
        ));
    }
    put(tar, &mut header, EntryType::GNULongName, name, |header| &mut header.as_old_mut().name)?;
    header.set_cksum();
    tar.append(&header, content)
}

/// Adds a symlink.
pub(super) fn append_link(
    tar: &mut Builder<impl Write>,
    mut header: Header,
    path: &Path,
    target: &[u8],
) -> io::Result<()> {
    if target.is_empty() {
        let text = format!("`{}` is a symlink to nothing, which no file system holds", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    put(tar, &mut header, EntryType::GNULongLink, target, |header| &mut header.as_old_mut().linkname)?;
    append(tar, header, path, io::empty())
}

/// Writes the text into its field; one that is longer stands before the entry, whole, and its beginning in the field.
fn put(
    tar: &mut Builder<impl Write>,
    header: &mut Header,
    kind: EntryType,
    text: &[u8],
    field: impl Fn(&mut Header) -> &mut [u8; 100],
) -> io::Result<()> {
    let fitting = text.len().min(field(header).len());
    field(header)[..fitting].copy_from_slice(&text[..fitting]);
    if fitting == text.len() {
        return Ok(());
    }
    let mut before = Header::new_gnu();
    before.set_entry_type(kind);
    before.set_mode(0o644);
    before.set_uid(0);
    before.set_gid(0);
    before.set_mtime(0);
    // It ends in a NUL.
    before.set_size(text.len() as u64 + 1);
    before.as_old_mut().name[..LONG.len()].copy_from_slice(LONG);
    before.set_cksum();
    tar.append(&before, text.chain([0].as_slice()))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_and_a_symlink_to_nothing_are_refused() {
        let mut tar = Builder::new(Vec::new());
        for bad in ["", "/", "/a", "../a", "a/../b", "a/..", ".", "./a", "a/./b", "a//b", "a/"] {
            let refused = append(&mut tar, Header::new_gnu(), Path::new(bad), io::empty());
            assert_eq!(refused.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData), "{bad:?}");
        }
        assert!(append_link(&mut tar, Header::new_gnu(), Path::new("a"), b"").is_err());
        assert!(append(&mut tar, Header::new_gnu(), Path::new(OsStr::from_bytes(b"a/.../-\xff")), io::empty()).is_ok());
    }
}
