//! Sizes of memory on the command line.

use core::ops::RangeInclusive;

/// Sizes that a guest's stack may have, in bytes.
const STACK: RangeInclusive<usize> = 16 << 10..=1 << 30;

/// Parses the size of a stack: bytes, or a number of KiB, MiB or GiB with `K`, `M` or `G`.
pub(super) fn stack_size(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((end, 'k' | 'K')) => (&text[..end], 10),
        Some((end, 'm' | 'M')) => (&text[..end], 20),
        Some((end, 'g' | 'G')) => (&text[..end], 30),
        _ => (text, 0),
    };
    let number: usize = digits
        .parse()
        .map_err(|_| "a number of bytes, or with K, M or G, is needed".to_owned())?;
    let bytes = number.checked_mul(1 << shift);
    let allowed = bytes.filter(|bytes| STACK.contains(bytes));
    allowed.ok_or_else(|| "a stack has from 16K to 1G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::stack_size;

    #[test]
    fn a_size_may_have_a_unit() {
        for (text, bytes) in [
            ("16384", 16 << 10),
            ("16k", 16 << 10),
            ("512K", 512 << 10),
            ("8M", 8 << 20),
            ("1G", 1 << 30),
        ] {
            assert_eq!(stack_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn other_sizes_are_refused() {
        for text in [
            "",
            "K",
            "0",
            "16383",
            "15K",
            "2G",
            "1T",
            "-1M",
            "8 M",
            "é",
            "99999999999999999999G",
        ] {
            assert!(stack_size(text).is_err(), "{text}");
        }
        let most = format!("{}G", usize::MAX);
        assert!(stack_size(&most).is_err());
    }
}
