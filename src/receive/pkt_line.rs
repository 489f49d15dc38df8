//! git's pkt-line framing: four hexadecimal digits of length, those included, then the payload; `0000` is a flush.

use std::io::{self, Read, Write};

/// Longest payload of one line, in bytes (git's `LARGE_PACKET_DATA_MAX`).
const MAX_PAYLOAD_BYTES: usize = 65516;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    Flush,
    Data(Vec<u8>),
}

/// Reads one frame; an end of input in its middle is an `UnexpectedEof`.
pub(super) fn read(input: &mut impl Read) -> io::Result<Packet> {
    let mut digits = [0; 4];
    input.read_exact(&mut digits)?;
    let length = std::str::from_utf8(&digits).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
    match length {
        Some(0) => Ok(Packet::Flush),
        Some(length) if (4..=MAX_PAYLOAD_BYTES + 4).contains(&length) => {
            let mut payload = vec![0; length - 4];
            input.read_exact(&mut payload)?;
            Ok(Packet::Data(payload))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "git sent a malformed packet length")),
    }
}

/// Reads the lines up to the next flush, each without its final newline.
pub(super) fn read_section(input: &mut impl Read) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    while let Packet::Data(payload) = read(input)? {
        let text = String::from_utf8(payload)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "git sent a line that is not UTF-8"))?;
        lines.push(text.strip_suffix('\n').unwrap_or(&text).to_owned());
    }
    Ok(lines)
}

/// Writes one line; what exceeds a frame is cut, as only reasons for people can be that long.
pub(super) fn write(output: &mut impl Write, line: &str) -> io::Result<()> {
    let mut end = line.len().min(MAX_PAYLOAD_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let line = &line[..end];
    write!(output, "{:04x}{line}", line.len() + 4)
}

pub(super) fn write_flush(output: &mut impl Write) -> io::Result<()> {
    output.write_all(b"0000")?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_section_is_read_to_its_flush() {
        let mut input: &[u8] = b"000eversion=1\n0007abc00000005x";
        assert_eq!(read_section(&mut input).unwrap(), ["version=1", "abc"]);
        assert_eq!(read(&mut input).unwrap(), Packet::Data(b"x".to_vec()));
    }

    #[test]
    fn a_broken_frame_is_an_error_and_never_a_hang_or_a_panic() {
        for broken in [&b"00"[..], b"zzzz", b"0003", b"0001", b"0009abc", b"ffff", b""] {
            assert!(read(&mut &*broken).is_err(), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(line in "\\PC{0,80}") {
            let mut bytes = Vec::new();
            write(&mut bytes, &line).unwrap();
            write_flush(&mut bytes).unwrap();
            prop_assert_eq!(read_section(&mut bytes.as_slice()).unwrap(), [line]);
        }
    }
}
