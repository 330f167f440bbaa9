//! Reading numbers off the front of a byte slice.

/// Bytes not read yet; each read takes from the front, or fails if too few are left.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<Bytes<'a>> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(Bytes(taken))
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?.0[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_ne_bytes(*bytes))
    }

    /// An unsigned LEB128 number that fits in 64 bits.
    pub(crate) fn uleb128(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Skips a signed LEB128 number of at most 64 bits.
    pub(crate) fn skip_sleb128(&mut self) -> Option<()> {
        for _ in (0..64).step_by(7) {
            if self.u8()? & 0x80 == 0 {
                return Some(());
            }
        }
        None
    }

    /// A block of bytes after its length.
    pub(crate) fn block(&mut self) -> Option<Bytes<'a>> {
        let count = usize::try_from(self.uleb128()?).ok()?;
        self.take(count)
    }

    /// The bytes of a string, without the zero that ends it.
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|&byte| byte == 0)?;
        let string = self.take(length)?;
        self.u8()?;
        Some(string.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Bytes;

    #[test]
    fn leb128_numbers_of_any_length_that_fits() {
        for (encoded, value) in [
            (&[0_u8][..], Some(0)),
            (&[0x7f], Some(127)),
            (&[0x80, 1], Some(128)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                Some(u64::MAX),
            ),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
                None,
            ),
            (
                &[
                    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0,
                ],
                None,
            ),
            (&[0x80], None),
            (&[], None),
        ] {
            let mut bytes = Bytes(encoded);
            assert_eq!(bytes.uleb128(), value, "{encoded:x?}");
            assert!(value.is_none() || bytes.is_empty(), "{encoded:x?}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_read() {
        let mut bytes = Bytes(&[3, 1, 2]);
        assert!(bytes.block().is_none());
        assert!(Bytes(b"no end").string().is_none());
        assert!(Bytes(&[1, 2, 3]).u32().is_none());
        assert!(Bytes(&[0x80, 0x80]).skip_sleb128().is_none());
    }

    #[test]
    fn reads_follow_each_other() {
        let mut bytes = Bytes(b"zR\0\x02ab\x7f\x09");
        assert_eq!(bytes.string(), Some(&b"zR"[..]));
        assert_eq!(bytes.block().map(|block| block.0), Some(&b"ab"[..]));
        assert_eq!(bytes.skip_sleb128(), Some(()));
        assert_eq!(bytes.u8(), Some(9));
        assert!(bytes.is_empty());
    }
}
