//! Relocations: the distances of calls inside the text, which then runs at any address.
//!
//! | machine | where | what is written |
//! | --- | --- | --- |
//! | `x86_64` | 4 bytes | target + addend − place, signed, 32 bits (`R_X86_64_PC32`) |
//! | `aarch64` | 1 instruction | (target + addend − place) / 4, signed, bits 0–25 (`R_AARCH64_CALL26`) |
//! | `riscv64` | 2 instructions | target + addend − place, high 20 bits in `auipc`, low 12 in `jalr` (`R_RISCV_CALL_PLT`) |
//! | Pulley | 4 bytes | the number there + target + addend − place, signed, 32 bits (`PulleyPcRel`) |
//! | Pulley | 1 byte, 3 bytes behind the place | the number of a host call (`PulleyCallIndirectHost`) |

use crate::emit::Symbol;
use crate::error::CompileError;
use cranelift_codegen::binemit::Reloc;

/// A place in the text that holds the distance to another piece of code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relocation {
    /// The offset of the place in the text.
    pub(crate) place: u32,
    /// The encoding of the distance.
    pub(crate) kind: Reloc,
    /// The other piece of code.
    pub(crate) target: Symbol,
    /// Added to the distance.
    pub(crate) addend: i64,
}

impl Relocation {
    /// Writes the distance from the place to `target`, an offset in the same text. For a call of
    /// the host, writes its number.
    pub(crate) fn apply(&self, text: &mut [u8], target: u32) -> Result<(), CompileError> {
        let distance = i64::from(target) + self.addend - i64::from(self.place);
        let place = self.place as usize;
        match self.kind {
            Reloc::X86CallPCRel4 | Reloc::X86PCRel4 => {
                let distance = i32::try_from(distance).map_err(|_| too_far())?;
                word(text, place)?.copy_from_slice(&distance.to_le_bytes());
                Ok(())
            }
            Reloc::Arm64Call => arm64_call(word(text, place)?, distance),
            Reloc::RiscvCallPlt => {
                let (high, low) = riscv_halves(distance)?;
                set_bits(word(text, place)?, !0xfff, high);
                set_bits(word(text, place + 4)?, 0xfff << 20, low << 20);
                Ok(())
            }
            Reloc::PulleyPcRel => {
                let word = word(text, place)?;
                let distance = i64::from(i32::from_le_bytes(*word)) + distance;
                let distance = i32::try_from(distance).map_err(|_| too_far())?;
                *word = distance.to_le_bytes();
                Ok(())
            }
            Reloc::PulleyCallIndirectHost => {
                let number = u8::try_from(target).map_err(|_| too_far())?;
                let [.., last] = word(text, place)?;
                *last = number;
                Ok(())
            }
            // The operand of `brasl` and `brcl`: a big-endian count of half-words.
            Reloc::S390xPLTRel32Dbl => {
                if distance % 2 != 0 {
                    return Err(too_far());
                }
                let halves = i32::try_from(distance / 2).map_err(|_| too_far())?;
                word(text, place)?.copy_from_slice(&halves.to_be_bytes());
                Ok(())
            }
            other => Err(CompileError::Backend(format!(
                "the code has a relocation of kind {other:?}"
            ))),
        }
    }
}

fn too_far() -> CompileError {
    CompileError::Limit("a call leads farther than the machine can express".into())
}

fn word(text: &mut [u8], place: usize) -> Result<&mut [u8; 4], CompileError> {
    text.get_mut(place..)
        .and_then(|rest| rest.first_chunk_mut())
        .ok_or_else(|| CompileError::Backend("a relocation lies outside of the text".into()))
}

fn set_bits(word: &mut [u8; 4], mask: u32, bits: u32) {
    let instruction = u32::from_le_bytes(*word);
    *word = ((instruction & !mask) | (bits & mask)).to_le_bytes();
}

fn arm64_call(word: &mut [u8; 4], distance: i64) -> Result<(), CompileError> {
    const REACH: i64 = 1 << 27;
    if distance % 4 != 0 || !(-REACH..REACH).contains(&distance) {
        return Err(too_far());
    }
    let instructions = i32::try_from(distance / 4).map_err(|_| too_far())?;
    set_bits(word, (1 << 26) - 1, instructions.cast_unsigned());
    Ok(())
}

/// The operands of `auipc` and `jalr`. The second is signed, so the first is rounded.
fn riscv_halves(distance: i64) -> Result<(u32, u32), CompileError> {
    let distance = i32::try_from(distance).map_err(|_| too_far())?;
    let high = distance.checked_add(0x800).ok_or_else(too_far)?;
    Ok((
        (high & !0xfff).cast_unsigned(),
        distance.cast_unsigned() & 0xfff,
    ))
}

#[cfg(test)]
mod tests {
    use super::Relocation;
    use crate::emit::Symbol;
    use crate::error::CompileError;
    use cranelift_codegen::binemit::Reloc;

    fn applied(
        text: &[u8],
        kind: Reloc,
        place: u32,
        addend: i64,
        target: u32,
    ) -> Result<Vec<u8>, CompileError> {
        let mut text = text.to_vec();
        let relocation = Relocation {
            place,
            kind,
            target: Symbol::Function(0),
            addend,
        };
        relocation.apply(&mut text, target).map(|()| text)
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn x86_64_counts_from_the_end_of_the_call() {
        let call = [0xe8, 0, 0, 0, 0, 0x90];
        let forward = applied(&call, Reloc::X86CallPCRel4, 1, -4, 0x1234).expect("near");
        assert_eq!(forward, [0xe8, 0x2f, 0x12, 0, 0, 0x90]);
        let back = applied(&call, Reloc::X86CallPCRel4, 1, -4, 0).expect("near");
        assert_eq!(back, [0xe8, 0xfb, 0xff, 0xff, 0xff, 0x90]);
    }

    #[test]
    fn aarch64_counts_instructions_from_the_call() {
        let nop_and_call = words(&[0xd503_201f, 0x9400_0000]);
        let forward = applied(&nop_and_call, Reloc::Arm64Call, 4, 0, 12).expect("near");
        assert_eq!(forward, words(&[0xd503_201f, 0x9400_0002]));
        let back = applied(&nop_and_call, Reloc::Arm64Call, 4, 0, 0).expect("near");
        assert_eq!(back, words(&[0xd503_201f, 0x97ff_ffff]));
        let far = applied(&nop_and_call, Reloc::Arm64Call, 4, 0, 4 + (1 << 27));
        assert!(matches!(far, Err(CompileError::Limit(_))));
    }

    #[test]
    fn riscv64_rounds_the_high_half() {
        let auipc_and_jalr = words(&[0x0000_0097, 0x0000_80e7]);
        let near = applied(&auipc_and_jalr, Reloc::RiscvCallPlt, 0, 0, 0x1004).expect("near");
        assert_eq!(near, words(&[0x0000_1097, 0x0040_80e7]));
        let rounded = applied(&auipc_and_jalr, Reloc::RiscvCallPlt, 0, 0, 0x1ffc).expect("near");
        assert_eq!(rounded, words(&[0x0000_2097, 0xffc0_80e7]));
        let back = applied(&words(&[0; 5]), Reloc::RiscvCallPlt, 8, 0, 0).expect("near");
        assert_eq!(back, words(&[0, 0, 0, 0xff80_0000, 0]));
    }

    #[test]
    fn bytecode_counts_from_its_instruction() {
        // The opcode of a call, and the distance from there to its operand.
        let call = [0x01, 1, 0, 0, 0];
        let forward = applied(&call, Reloc::PulleyPcRel, 1, 0, 0x1234).expect("near");
        assert_eq!(forward, [0x01, 0x34, 0x12, 0, 0]);
        let back = applied(&[call, call].concat(), Reloc::PulleyPcRel, 6, 0, 0).expect("near");
        assert_eq!(back[6..], (-5_i32).to_le_bytes());
        let far = applied(&call, Reloc::PulleyPcRel, 1, i64::from(i32::MAX), 1);
        assert!(matches!(far, Err(CompileError::Limit(_))));
    }

    #[test]
    fn calls_of_the_host_have_their_number() {
        let call = [0xdc, 0x01, 0x00, 0, 0x55];
        let numbered = applied(&call, Reloc::PulleyCallIndirectHost, 0, 0, 7).expect("a number");
        assert_eq!(numbered, [0xdc, 0x01, 0x00, 7, 0x55]);
        let large = applied(&call, Reloc::PulleyCallIndirectHost, 0, 0, 256);
        assert!(matches!(large, Err(CompileError::Limit(_))));
    }

    #[test]
    fn s390x_counts_half_words_from_the_instruction() {
        let nop_and_call = [0x07, 0x07, 0xc0, 0xe5, 0, 0, 0, 0];
        let kind = Reloc::S390xPLTRel32Dbl;
        let forward = applied(&nop_and_call, kind, 4, 2, 0x1_0002).expect("near");
        assert_eq!(forward, [0x07, 0x07, 0xc0, 0xe5, 0, 0, 0x80, 0]);
        let back = applied(&nop_and_call, kind, 4, 2, 0).expect("near");
        assert_eq!(back, [0x07, 0x07, 0xc0, 0xe5, 0xff, 0xff, 0xff, 0xff]);
        let odd = applied(&nop_and_call, kind, 4, 2, 7);
        assert!(matches!(odd, Err(CompileError::Limit(_))));
    }

    #[test]
    fn what_cannot_be_resolved_is_an_error() {
        let other = applied(&[0; 8], Reloc::Abs8, 0, 0, 0);
        assert!(matches!(other, Err(CompileError::Backend(_))));
        let outside = applied(&[0; 4], Reloc::X86CallPCRel4, 2, -4, 0);
        assert!(matches!(outside, Err(CompileError::Backend(_))));
        let far = applied(&[0; 4], Reloc::X86CallPCRel4, 0, -4, u32::MAX);
        assert!(matches!(far, Err(CompileError::Limit(_))));
    }
}
