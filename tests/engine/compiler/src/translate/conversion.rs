//! Conversions between numeric types.

use crate::translate::translator::Translator;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Opcode, Type, Value, types};
use vmexternref_engine_abi::TrapCode;
use wasmparser::Operator;

/// Whether integers are signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Signed,
    Unsigned,
}

impl Translator<'_, '_> {
    /// Translates a conversion.
    pub(crate) fn conversion(&mut self, operator: &Operator<'_>) -> bool {
        if let Some((opcode, ty)) = plain_conversion(operator) {
            self.convert(opcode, ty);
        } else if let Some((ty, sign)) = saturating_truncation(operator) {
            let float = self.pop();
            self.truncate(float, ty, sign);
        } else if let Some((ty, sign)) = checked_truncation(operator) {
            let float = self.pop();
            self.check_truncation(float, ty, sign);
            self.truncate(float, ty, sign);
        } else if let Some(narrow) = sign_extension(operator) {
            self.extend_sign(narrow);
        } else if let Some(ty) = reinterpretation(operator) {
            self.reinterpret(ty);
        } else {
            return false;
        }
        true
    }

    fn convert(&mut self, opcode: Opcode, ty: Type) {
        let operand = self.pop();
        let (inst, dfg) = self.ins().Unary(opcode, ty, operand);
        let value = dfg.first_result(inst);
        self.push(value);
    }

    /// Pushes the bits of the operand as a value of another type of the same width.
    fn reinterpret(&mut self, ty: Type) {
        let operand = self.pop();
        let value = self.ins().bitcast(ty, MemFlagsData::new(), operand);
        self.push(value);
    }

    fn extend_sign(&mut self, narrow: Type) {
        let operand = self.pop();
        let ty = self.type_of(operand);
        let low = self.ins().ireduce(narrow, operand);
        let value = self.ins().sextend(ty, low);
        self.push(value);
    }

    fn truncate(&mut self, float: Value, ty: Type, sign: Sign) {
        let value = match sign {
            Sign::Signed => self.ins().fcvt_to_sint_sat(ty, float),
            Sign::Unsigned => self.ins().fcvt_to_uint_sat(ty, float),
        };
        self.push(value);
    }

    /// Raises a trap unless the truncated float is an integer of that type.
    fn check_truncation(&mut self, float: Value, ty: Type, sign: Sign) {
        let is_nan = self.ins().fcmp(FloatCC::Unordered, float, float);
        self.trap_if(is_nan, TrapCode::InvalidConversionToInteger);
        let (low, high) = exclusive_bounds(self.type_of(float), ty, sign);
        let low = self.float(float, low);
        let high = self.float(float, high);
        let above_low = self.ins().fcmp(FloatCC::GreaterThan, float, low);
        self.trap_unless(above_low, TrapCode::IntegerOverflow);
        let below_high = self.ins().fcmp(FloatCC::LessThan, float, high);
        self.trap_unless(below_high, TrapCode::IntegerOverflow);
    }

    /// A constant of the type of `like`. Each bound is exact in that type.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the bounds of a 32-bit float are 32-bit floats"
    )]
    fn float(&mut self, like: Value, constant: f64) -> Value {
        match self.type_of(like) {
            types::F32 => self.ins().f32const(Ieee32::with_float(constant as f32)),
            _ => self.ins().f64const(Ieee64::with_float(constant)),
        }
    }
}

/// The nearest floats outside the integers' range: `x` can be truncated if `low < x < high`.
///
/// If the float type cannot express the least integer minus one, the next float below the least
/// integer takes its place.
fn exclusive_bounds(float: Type, integer: Type, sign: Sign) -> (f64, f64) {
    let two_to = |exponent: i32| 2f64.powi(exponent);
    let bits = if integer == types::I32 { 32 } else { 64 };
    match sign {
        Sign::Unsigned => (-1.0, two_to(bits)),
        Sign::Signed => {
            let least = -two_to(bits - 1);
            let below = match (float, integer) {
                (types::F64, types::I32) => least - 1.0,
                (types::F32, _) => f64::from(next_below(least)),
                _ => least.next_down(),
            };
            (below, two_to(bits - 1))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a negative power of two is a 32-bit float"
)]
fn next_below(power: f64) -> f32 {
    (power as f32).next_down()
}

fn plain_conversion(operator: &Operator<'_>) -> Option<(Opcode, Type)> {
    Some(match operator {
        Operator::I32WrapI64 => (Opcode::Ireduce, types::I32),
        Operator::I64ExtendI32S => (Opcode::Sextend, types::I64),
        Operator::I64ExtendI32U => (Opcode::Uextend, types::I64),
        Operator::F32DemoteF64 => (Opcode::Fdemote, types::F32),
        Operator::F64PromoteF32 => (Opcode::Fpromote, types::F64),
        Operator::F32ConvertI32S | Operator::F32ConvertI64S => (Opcode::FcvtFromSint, types::F32),
        Operator::F32ConvertI32U | Operator::F32ConvertI64U => (Opcode::FcvtFromUint, types::F32),
        Operator::F64ConvertI32S | Operator::F64ConvertI64S => (Opcode::FcvtFromSint, types::F64),
        Operator::F64ConvertI32U | Operator::F64ConvertI64U => (Opcode::FcvtFromUint, types::F64),
        _ => return None,
    })
}

fn saturating_truncation(operator: &Operator<'_>) -> Option<(Type, Sign)> {
    use Sign::{Signed, Unsigned};
    Some(match operator {
        Operator::I32TruncSatF32S | Operator::I32TruncSatF64S => (types::I32, Signed),
        Operator::I32TruncSatF32U | Operator::I32TruncSatF64U => (types::I32, Unsigned),
        Operator::I64TruncSatF32S | Operator::I64TruncSatF64S => (types::I64, Signed),
        Operator::I64TruncSatF32U | Operator::I64TruncSatF64U => (types::I64, Unsigned),
        _ => return None,
    })
}

fn checked_truncation(operator: &Operator<'_>) -> Option<(Type, Sign)> {
    use Sign::{Signed, Unsigned};
    Some(match operator {
        Operator::I32TruncF32S | Operator::I32TruncF64S => (types::I32, Signed),
        Operator::I32TruncF32U | Operator::I32TruncF64U => (types::I32, Unsigned),
        Operator::I64TruncF32S | Operator::I64TruncF64S => (types::I64, Signed),
        Operator::I64TruncF32U | Operator::I64TruncF64U => (types::I64, Unsigned),
        _ => return None,
    })
}

fn sign_extension(operator: &Operator<'_>) -> Option<Type> {
    Some(match operator {
        Operator::I32Extend8S | Operator::I64Extend8S => types::I8,
        Operator::I32Extend16S | Operator::I64Extend16S => types::I16,
        Operator::I64Extend32S => types::I32,
        _ => return None,
    })
}

fn reinterpretation(operator: &Operator<'_>) -> Option<Type> {
    Some(match operator {
        Operator::I32ReinterpretF32 => types::I32,
        Operator::I64ReinterpretF64 => types::I64,
        Operator::F32ReinterpretI32 => types::F32,
        Operator::F64ReinterpretI64 => types::F64,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Sign, exclusive_bounds};
    use cranelift_codegen::ir::types;

    #[test]
    fn bounds_are_the_nearest_floats_outside() {
        use Sign::{Signed, Unsigned};
        let bounds = exclusive_bounds;
        assert_eq!(
            bounds(types::F64, types::I32, Signed),
            (-2_147_483_649.0, 2_147_483_648.0)
        );
        assert_eq!(
            bounds(types::F32, types::I32, Signed),
            (-2_147_483_904.0, 2_147_483_648.0)
        );
        assert_eq!(
            bounds(types::F64, types::I64, Signed),
            (-9_223_372_036_854_777_856.0, 9_223_372_036_854_775_808.0)
        );
        assert_eq!(
            bounds(types::F32, types::I64, Signed),
            (-9_223_373_136_366_403_584.0, 9_223_372_036_854_775_808.0)
        );
        assert_eq!(
            bounds(types::F32, types::I32, Unsigned),
            (-1.0, 4_294_967_296.0)
        );
        assert_eq!(
            bounds(types::F64, types::I64, Unsigned),
            (-1.0, 18_446_744_073_709_551_616.0)
        );
    }
}
