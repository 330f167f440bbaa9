//! Call frame instructions, which unwinders run unchecked.
//!
//! gimli knows the instructions of DWARF 5, section 6.4.2, and the GNU and `AArch64` extensions. At
//! an unknown instruction, GCC's unwinder (`execute_cfa_program` in `libgcc/unwind-dw2.c`) aborts,
//! and LLVM's unwinder (`parseFDEInstructions` in `libunwind/src/DwarfParser.hpp`) ends the walk.

use crate::expression::{self, Slice};
use crate::registers::{is_general, is_restorable};
use gimli::{CallFrameInstruction, CallFrameInstructionIter, EhFrame, Encoding, UnwindExpression};

/// The states that may be remembered at a time. An unwinder copies each state to its own stack.
const REMEMBERED: usize = 16;

/// The state of a check: after the instructions of a CIE, or also of one of its functions.
#[derive(Clone, Copy)]
pub(crate) struct Program<'a> {
    section: EhFrame<Slice<'a>>,
    encoding: Encoding,
    is_function: bool,
    /// Whether the CFA is defined.
    has_cfa: bool,
    remembered: usize,
}

impl<'a> Program<'a> {
    /// Checks the instructions of a CIE; `None` if an unwinder cannot follow them.
    pub(crate) fn of_cie(
        section: EhFrame<Slice<'a>>,
        encoding: Encoding,
        instructions: CallFrameInstructionIter<'_, Slice<'a>>,
    ) -> Option<Self> {
        let mut program = Self {
            section,
            encoding,
            is_function: false,
            has_cfa: false,
            remembered: 0,
        };
        program.run(instructions)?;
        Some(program)
    }

    /// Checks the instructions of a function with this CIE; `None` if an unwinder cannot follow
    /// them.
    pub(crate) fn check_function(
        self,
        instructions: CallFrameInstructionIter<'_, Slice<'a>>,
    ) -> Option<()> {
        let mut program = Self {
            is_function: true,
            remembered: 0,
            ..self
        };
        program.run(instructions)?;
        // At a frame without a CFA, GCC's unwinder aborts, and LLVM's has undefined behaviour.
        program.has_cfa.then_some(())
    }

    fn run(&mut self, mut instructions: CallFrameInstructionIter<'_, Slice<'a>>) -> Option<()> {
        while let Some(instruction) = instructions.next().ok()? {
            self.step(instruction)?;
        }
        Some(())
    }

    fn step(&mut self, instruction: CallFrameInstruction<usize>) -> Option<()> {
        let is_followed = match instruction {
            CallFrameInstruction::Nop
            | CallFrameInstruction::DefCfaOffset { .. }
            | CallFrameInstruction::DefCfaOffsetSf { .. }
            | CallFrameInstruction::ArgsSize { .. }
            | CallFrameInstruction::NegateRaState => true,
            // After an advance in a CIE, GCC's unwinder starts the function's instructions at the
            // new address, and LLVM's unwinder at the function's start.
            CallFrameInstruction::AdvanceLoc { .. } => self.is_function && self.has_cfa,
            CallFrameInstruction::DefCfa { register, .. }
            | CallFrameInstruction::DefCfaSf { register, .. }
            | CallFrameInstruction::DefCfaRegister { register } => {
                self.has_cfa = true;
                is_general(register)
            }
            CallFrameInstruction::DefCfaExpression { expression } => {
                self.has_cfa = true;
                self.can_be_evaluated(expression)
            }
            CallFrameInstruction::Undefined { register }
            | CallFrameInstruction::SameValue { register }
            | CallFrameInstruction::Restore { register }
            | CallFrameInstruction::Offset { register, .. }
            | CallFrameInstruction::OffsetExtendedSf { register, .. }
            | CallFrameInstruction::ValOffset { register, .. }
            | CallFrameInstruction::ValOffsetSf { register, .. } => is_restorable(register),
            CallFrameInstruction::Register {
                dest_register,
                src_register,
            } => is_restorable(dest_register) && is_general(src_register),
            CallFrameInstruction::Expression {
                register,
                expression,
            }
            | CallFrameInstruction::ValExpression {
                register,
                expression,
            } => is_restorable(register) && self.can_be_evaluated(expression),
            CallFrameInstruction::RememberState => {
                self.remembered += 1;
                self.has_cfa && self.remembered <= REMEMBERED
            }
            // GCC's unwinder restores a state of the same entry only. Without one, it follows a
            // null pointer.
            CallFrameInstruction::RestoreState => {
                self.remembered = self.remembered.checked_sub(1)?;
                true
            }
            // LLVM's unwinder takes the address in `DW_CFA_set_loc` for an offset.
            _ => false,
        };
        is_followed.then_some(())
    }

    fn can_be_evaluated(&self, expression: UnwindExpression<usize>) -> bool {
        expression
            .get(&self.section)
            .is_ok_and(|expression| expression::check(expression, self.encoding).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::{Program, REMEMBERED};
    use crate::eh_frame::section;
    use gimli::{BaseAddresses, EhFrame, EhFrameOffset, UnwindSection};

    /// `def_cfa` of register 7.
    const CFA: &[u8] = &[0x0c, 7, 8];

    /// Checks a CIE with the instructions `cie`, and a function with the instructions `function`.
    fn accepts(cie: &[u8], function: &[u8]) -> bool {
        let word = size_of::<usize>();
        let entry = |id: u32, body: &[&[u8]]| {
            let body = body.concat();
            let length = u32::try_from(4 + body.len()).expect("short");
            [&length.to_ne_bytes(), &id.to_ne_bytes(), &body[..]].concat()
        };
        let cie = entry(0, &[b"\x01\0\x01\x78\x0e", cie]);
        let at = cie.len();
        let back = u32::try_from(at + 4).expect("short");
        let table = [&cie[..], &entry(back, &[&vec![1; 2 * word], function])].concat();

        let bases = BaseAddresses::default().set_eh_frame(0);
        let section = section(&table);
        let function = section
            .fde_from_offset(&bases, EhFrameOffset::from(at), EhFrame::cie_from_offset)
            .expect("well formed");
        let cie = function.cie();
        Program::of_cie(section, cie.encoding(), cie.instructions(&section, &bases))
            .and_then(|cie| cie.check_function(function.instructions(&section, &bases)))
            .is_some()
    }

    #[test]
    fn every_instruction_takes_its_operands_and_no_more() {
        for instruction in [
            &[0x00_u8][..],
            &[0x02, 1],
            &[0x03, 1, 2],
            &[0x04, 1, 2, 3, 4],
            &[0x05, 3, 0x80, 1],
            &[0x06, 1],
            &[0x07, 1],
            &[0x08, 1],
            &[0x09, 1, 2],
            &[0x0c, 7, 8],
            &[0x0d, 6],
            &[0x0e, 0x90, 1],
            &[0x0f, 2, 0x77, 8],
            &[0x10, 3, 2, 0x77, 8],
            &[0x11, 1, 0x7f],
            &[0x12, 1, 0xff, 0x7f],
            &[0x13, 0x7c],
            &[0x14, 1, 2],
            &[0x15, 1, 0x7f],
            &[0x16, 3, 2, 0x77, 8],
            &[0x2e, 16],
            &[0x41],
            &[0x86, 2],
            &[0xc6],
        ] {
            assert!(accepts(CFA, instruction), "{instruction:x?}");
            // 0x3f is unknown: it is refused unless the instruction takes it for an operand.
            let followed = [instruction, &[0x3f]].concat();
            assert!(!accepts(CFA, &followed), "{followed:x?}");
            let (_, truncated) = instruction.split_last().expect("bytes");
            let is_refused = truncated.is_empty() || !accepts(CFA, truncated);
            assert!(is_refused, "{truncated:x?}");
        }
    }

    #[test]
    fn unknown_instructions_are_refused() {
        // 0x01 is `set_loc`, which LLVM's unwinder misreads.
        let unknown = [0x01].into_iter().chain(0x17..=0x2c).chain(0x2f..=0x3f);
        for opcode in unknown {
            assert!(
                !accepts(CFA, &[opcode, 1, 0, 0, 0, 0, 0, 0, 0]),
                "{opcode:#x}"
            );
        }
        // Elsewhere, GCC's unwinder takes it for an instruction of SPARC.
        assert_eq!(accepts(CFA, &[0x2d]), cfg!(target_arch = "aarch64"));
    }

    #[test]
    fn a_state_is_restored_only_after_it_was_remembered() {
        assert!(accepts(CFA, &[0x0a, 0x0b, 0x0a, 0x0b]));
        assert!(!accepts(CFA, &[0x0b]));
        assert!(!accepts(CFA, &[0x0a, 0x0b, 0x0b]));
        let in_cie = [CFA, &[0x0a]].concat();
        assert!(accepts(&in_cie, &[]));
        assert!(!accepts(&in_cie, &[0x0b]), "each program has its own");
    }

    #[test]
    fn states_are_remembered_up_to_a_limit_at_a_time() {
        assert!(accepts(CFA, &[0x0a; REMEMBERED]));
        assert!(!accepts(CFA, &[0x0a; REMEMBERED + 1]));
        assert!(accepts(CFA, &[0x0a, 0x0b].repeat(REMEMBERED + 1)));
    }

    #[test]
    fn the_cfa_is_defined_before_code_has_run() {
        assert!(accepts(&[], CFA));
        assert!(accepts(&[], &[CFA, &[0x41]].concat()));
        assert!(accepts(&[], &[0x0e, 8, 0x0d, 7, 0x41]));
        assert!(accepts(&[], &[0x0f, 2, 0x77, 8, 0x41]));
        assert!(accepts(&[0x12, 7, 0x7f], &[]));
        assert!(!accepts(&[], &[]));
        assert!(!accepts(&[], &[0x0e, 8]), "an offset alone is no CFA");
        assert!(!accepts(&[], &[&[0x41], CFA].concat()));
        let restored = [&[0x0a], CFA, &[0x0b]].concat();
        assert!(!accepts(&[], &restored), "remembered without");
    }

    #[test]
    fn a_cie_describes_no_progress() {
        assert!(!accepts(&[CFA, &[0x41]].concat(), &[]));
    }

    #[test]
    fn registers_that_an_unwinder_does_not_know_are_refused() {
        // LEB128 of 0x3fff, which no architecture has; the others are general ones.
        for instruction in [
            &[0x05, 0xff, 0x7f, 1][..],
            &[0x06, 0xff, 0x7f],
            &[0x07, 0xff, 0x7f],
            &[0x08, 0xff, 0x7f],
            &[0x09, 0xff, 0x7f, 1],
            &[0x09, 1, 0xff, 0x7f],
            &[0x0c, 0xff, 0x7f, 8],
            &[0x0d, 0xff, 0x7f],
            &[0x0f, 4, 0x92, 0xff, 0x7f, 0],
            &[0x10, 0xff, 0x7f, 1, 0x31],
            &[0x11, 0xff, 0x7f, 1],
            &[0x12, 0xff, 0x7f, 1],
            &[0x14, 0xff, 0x7f, 1],
            &[0x15, 0xff, 0x7f, 1],
            &[0x16, 0xff, 0x7f, 1, 0x31],
        ] {
            assert!(!accepts(CFA, instruction), "{instruction:x?}");
        }
    }

    #[test]
    fn expressions_are_looked_into_and_end_within_their_entry() {
        for instruction in [&[0x0f][..], &[0x10, 3], &[0x16, 3]] {
            let with = |expression: &[u8]| accepts(CFA, &[instruction, expression].concat());
            assert!(with(&[1, 0x31]), "{instruction:x?}");
            assert!(!with(&[1, 0x01]), "an unknown operation: {instruction:x?}");
            assert!(!with(&[1, 0x13]), "an empty stack: {instruction:x?}");
            assert!(!with(&[3, 0x31, 0x31]), "too long: {instruction:x?}");
            let most = [
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x31,
            ];
            assert!(!with(&most), "far too long: {instruction:x?}");
        }
    }
}
