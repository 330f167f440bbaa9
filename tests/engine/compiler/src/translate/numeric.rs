//! Constants, arithmetic, comparisons and bits.

use crate::translate::translator::Translator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::{Ieee32, Ieee64};
use cranelift_codegen::ir::{InstBuilder, Opcode, Value, types};
use vmexternref_engine_abi::TrapCode;
use wasmparser::Operator;

impl Translator<'_, '_> {
    /// Translates a numeric instruction.
    pub(crate) fn numeric(&mut self, operator: &Operator<'_>) -> bool {
        if let Some(opcode) = binary_opcode(operator) {
            self.binary(opcode);
        } else if let Some(opcode) = unary_opcode(operator) {
            self.unary(opcode);
        } else if let Some(condition) = integer_condition(operator) {
            self.compare_integers(condition);
        } else if let Some(condition) = float_condition(operator) {
            self.compare_floats(condition);
        } else {
            return self.constant(operator) || self.division(operator) || self.conversion(operator);
        }
        true
    }

    fn constant(&mut self, operator: &Operator<'_>) -> bool {
        let value = match *operator {
            Operator::I32Const { value } => self.ins().iconst(types::I32, zero_extended(value)),
            Operator::I64Const { value } => self.ins().iconst(types::I64, value),
            Operator::F32Const { value } => self.ins().f32const(Ieee32::with_bits(value.bits())),
            Operator::F64Const { value } => self.ins().f64const(Ieee64::with_bits(value.bits())),
            _ => return false,
        };
        self.push(value);
        true
    }

    fn binary(&mut self, opcode: Opcode) {
        let (right, left) = (self.pop(), self.pop());
        let ty = self.type_of(left);
        let (inst, dfg) = self.ins().Binary(opcode, ty, left, right);
        let value = dfg.first_result(inst);
        self.push(value);
    }

    fn unary(&mut self, opcode: Opcode) {
        let operand = self.pop();
        let ty = self.type_of(operand);
        let (inst, dfg) = self.ins().Unary(opcode, ty, operand);
        let value = dfg.first_result(inst);
        self.push(value);
    }

    fn compare_integers(&mut self, condition: IntCC) {
        let (right, left) = (self.pop(), self.pop());
        let truth = self.ins().icmp(condition, left, right);
        self.push_truth(truth);
    }

    fn compare_floats(&mut self, condition: FloatCC) {
        let (right, left) = (self.pop(), self.pop());
        let truth = self.ins().fcmp(condition, left, right);
        self.push_truth(truth);
    }

    /// Pushes a truth value as a 32-bit 0 or 1.
    fn push_truth(&mut self, truth: Value) {
        let truth = self.ins().uextend(types::I32, truth);
        self.push(truth);
    }

    fn division(&mut self, operator: &Operator<'_>) -> bool {
        let (opcode, signed_quotient) = match operator {
            Operator::I32DivS | Operator::I64DivS => (Opcode::Sdiv, true),
            Operator::I32DivU | Operator::I64DivU => (Opcode::Udiv, false),
            Operator::I32RemS | Operator::I64RemS => (Opcode::Srem, false),
            Operator::I32RemU | Operator::I64RemU => (Opcode::Urem, false),
            Operator::I32Eqz | Operator::I64Eqz => {
                let operand = self.pop();
                let truth = self.ins().icmp_imm_s(IntCC::Equal, operand, 0);
                self.push_truth(truth);
                return true;
            }
            _ => return false,
        };
        let (divisor, dividend) = (self.pop(), self.pop());
        self.trap_unless(divisor, TrapCode::IntegerDivideByZero);
        if signed_quotient {
            self.check_quotient(dividend, divisor);
        }
        let ty = self.type_of(dividend);
        let (inst, dfg) = self.ins().Binary(opcode, ty, dividend, divisor);
        let value = dfg.first_result(inst);
        self.push(value);
        true
    }

    /// Traps if the signed quotient does not fit: the least number divided by -1.
    fn check_quotient(&mut self, dividend: Value, divisor: Value) {
        let least = match self.type_of(dividend) {
            types::I32 => i64::from(i32::MIN),
            _ => i64::MIN,
        };
        let is_least = self.ins().icmp_imm_s(IntCC::Equal, dividend, least);
        let is_minus_one = self.ins().icmp_imm_s(IntCC::Equal, divisor, -1);
        let overflows = self.ins().band(is_least, is_minus_one);
        self.trap_if(overflows, TrapCode::IntegerOverflow);
    }
}

fn zero_extended(value: i32) -> i64 {
    i64::from(value.cast_unsigned())
}

fn binary_opcode(operator: &Operator<'_>) -> Option<Opcode> {
    Some(match operator {
        Operator::I32Add | Operator::I64Add => Opcode::Iadd,
        Operator::I32Sub | Operator::I64Sub => Opcode::Isub,
        Operator::I32Mul | Operator::I64Mul => Opcode::Imul,
        Operator::I32And | Operator::I64And => Opcode::Band,
        Operator::I32Or | Operator::I64Or => Opcode::Bor,
        Operator::I32Xor | Operator::I64Xor => Opcode::Bxor,
        Operator::I32Shl | Operator::I64Shl => Opcode::Ishl,
        Operator::I32ShrS | Operator::I64ShrS => Opcode::Sshr,
        Operator::I32ShrU | Operator::I64ShrU => Opcode::Ushr,
        Operator::I32Rotl | Operator::I64Rotl => Opcode::Rotl,
        Operator::I32Rotr | Operator::I64Rotr => Opcode::Rotr,
        Operator::F32Add | Operator::F64Add => Opcode::Fadd,
        Operator::F32Sub | Operator::F64Sub => Opcode::Fsub,
        Operator::F32Mul | Operator::F64Mul => Opcode::Fmul,
        Operator::F32Div | Operator::F64Div => Opcode::Fdiv,
        Operator::F32Min | Operator::F64Min => Opcode::Fmin,
        Operator::F32Max | Operator::F64Max => Opcode::Fmax,
        Operator::F32Copysign | Operator::F64Copysign => Opcode::Fcopysign,
        _ => return None,
    })
}

fn unary_opcode(operator: &Operator<'_>) -> Option<Opcode> {
    Some(match operator {
        Operator::I32Clz | Operator::I64Clz => Opcode::Clz,
        Operator::I32Ctz | Operator::I64Ctz => Opcode::Ctz,
        Operator::I32Popcnt | Operator::I64Popcnt => Opcode::Popcnt,
        Operator::F32Abs | Operator::F64Abs => Opcode::Fabs,
        Operator::F32Neg | Operator::F64Neg => Opcode::Fneg,
        Operator::F32Ceil | Operator::F64Ceil => Opcode::Ceil,
        Operator::F32Floor | Operator::F64Floor => Opcode::Floor,
        Operator::F32Trunc | Operator::F64Trunc => Opcode::Trunc,
        Operator::F32Nearest | Operator::F64Nearest => Opcode::Nearest,
        Operator::F32Sqrt | Operator::F64Sqrt => Opcode::Sqrt,
        _ => return None,
    })
}

fn integer_condition(operator: &Operator<'_>) -> Option<IntCC> {
    Some(match operator {
        Operator::I32Eq | Operator::I64Eq => IntCC::Equal,
        Operator::I32Ne | Operator::I64Ne => IntCC::NotEqual,
        Operator::I32LtS | Operator::I64LtS => IntCC::SignedLessThan,
        Operator::I32LtU | Operator::I64LtU => IntCC::UnsignedLessThan,
        Operator::I32GtS | Operator::I64GtS => IntCC::SignedGreaterThan,
        Operator::I32GtU | Operator::I64GtU => IntCC::UnsignedGreaterThan,
        Operator::I32LeS | Operator::I64LeS => IntCC::SignedLessThanOrEqual,
        Operator::I32LeU | Operator::I64LeU => IntCC::UnsignedLessThanOrEqual,
        Operator::I32GeS | Operator::I64GeS => IntCC::SignedGreaterThanOrEqual,
        Operator::I32GeU | Operator::I64GeU => IntCC::UnsignedGreaterThanOrEqual,
        _ => return None,
    })
}

fn float_condition(operator: &Operator<'_>) -> Option<FloatCC> {
    Some(match operator {
        Operator::F32Eq | Operator::F64Eq => FloatCC::Equal,
        Operator::F32Ne | Operator::F64Ne => FloatCC::NotEqual,
        Operator::F32Lt | Operator::F64Lt => FloatCC::LessThan,
        Operator::F32Gt | Operator::F64Gt => FloatCC::GreaterThan,
        Operator::F32Le | Operator::F64Le => FloatCC::LessThanOrEqual,
        Operator::F32Ge | Operator::F64Ge => FloatCC::GreaterThanOrEqual,
        _ => return None,
    })
}
