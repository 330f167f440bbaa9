//! Cases by number, the same on every machine.

/// Bytes of the largest case.
const LARGEST: u64 = 4096;

/// Numbers by the generator `SplitMix64` of Steele, Lea and Flood.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The bytes of the case that has this seed.
#[must_use]
pub fn bytes_of(seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let words = (64 + numbers.next() % LARGEST) / 8;
    let words = (0..words).map(|_| numbers.next().to_le_bytes());
    words.flatten().collect()
}
