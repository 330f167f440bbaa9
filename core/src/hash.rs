//! Where an address stands in a small table.

/// Spreads addresses over `2^bits` places, by the top bits of a product.
///
/// The factor is the golden section of all words, by two Fibonacci numbers.
#[inline]
pub(crate) const fn place(address: usize, bits: u32) -> usize {
    const GOLDEN: usize = (usize::MAX / 46_368 * 28_657) | 1;
    address.wrapping_mul(GOLDEN) >> (usize::BITS - bits)
}
