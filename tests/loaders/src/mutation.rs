//! Damage to valid bytes.

use arbitrary::{Result as Arbitrary, Unstructured};
use core::ops::Range;

/// Numbers at which programs tend to be wrong.
const NUMBERS: [u32; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    0xffff_ffff,
];

/// The longest part that a mutation inserts, moves or removes, in bytes.
const PART: usize = 64;

/// A seed with up to eight mutations, or noise.
pub(crate) fn mutate(seeds: &[Vec<u8>], u: &mut Unstructured<'_>) -> Arbitrary<Vec<u8>> {
    if u.ratio(1, 32)? {
        return Ok(u.bytes(u.len().min(4 * PART))?.to_vec());
    }
    let mut bytes = u.choose(seeds)?.clone();
    for _ in 0..u.int_in_range(0..=8)? {
        let other = u.choose(seeds)?;
        change(&mut bytes, other, u)?;
    }
    Ok(bytes)
}

fn change(bytes: &mut Vec<u8>, other: &[u8], u: &mut Unstructured<'_>) -> Arbitrary<()> {
    let at = u.int_in_range(0..=bytes.len())?;
    match u.int_in_range(0..=7)? {
        0 => bytes.truncate(at),
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << u.int_in_range(0..=7)?;
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = u.arbitrary()?;
            }
        }
        3 => {
            let number = u.choose(&NUMBERS)?.to_le_bytes();
            let end = bytes.len().min(at + number.len());
            bytes[at..end].copy_from_slice(&number[..end - at]);
        }
        4 => drop(bytes.drain(part(bytes, u)?)),
        5 => {
            let copied = bytes[part(bytes, u)?].to_vec();
            bytes.splice(at..at, copied);
        }
        6 => {
            let copied = other[part(other, u)?].iter().copied();
            bytes.splice(at..at, copied);
        }
        _ => {
            let copied = &other[part(other, u)?];
            let end = bytes.len().min(at + copied.len());
            bytes[at..end].copy_from_slice(&copied[..end - at]);
        }
    }
    Ok(())
}

/// A short range of `bytes`.
fn part(bytes: &[u8], u: &mut Unstructured<'_>) -> Arbitrary<Range<usize>> {
    let start = u.int_in_range(0..=bytes.len())?;
    let len = u.int_in_range(0..=PART)?;
    Ok(start..bytes.len().min(start + len))
}
