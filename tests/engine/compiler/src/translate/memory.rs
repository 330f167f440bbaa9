//! Linear memories.

use crate::emit::array_offset;
use crate::translate::translator::Translator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::immediates::Offset32;
use cranelift_codegen::ir::{InstBuilder, MemFlags, Opcode, Type, Value, types};
use vmexternref_engine_abi::{Builtin, MemoryType, TrapCode};
use wasmparser::{MemArg, Operator};

/// One kind of load or store.
struct Width {
    opcode: Opcode,
    /// The type of the operand.
    ty: Type,
    /// The number of bytes it accesses.
    bytes: u8,
    arg: MemArg,
}

impl Width {
    fn new(opcode: Opcode, ty: Type, bytes: u8, arg: MemArg) -> Self {
        Self {
            opcode,
            ty,
            bytes,
            arg,
        }
    }

    fn load(operator: &Operator<'_>) -> Option<Self> {
        use Opcode::{Load, Sload8, Sload16, Sload32, Uload8, Uload16, Uload32};
        use types::{F32, F64, I32, I64};
        Some(match *operator {
            Operator::I32Load { memarg } => Self::new(Load, I32, 4, memarg),
            Operator::I64Load { memarg } => Self::new(Load, I64, 8, memarg),
            Operator::F32Load { memarg } => Self::new(Load, F32, 4, memarg),
            Operator::F64Load { memarg } => Self::new(Load, F64, 8, memarg),
            Operator::I32Load8S { memarg } => Self::new(Sload8, I32, 1, memarg),
            Operator::I32Load8U { memarg } => Self::new(Uload8, I32, 1, memarg),
            Operator::I32Load16S { memarg } => Self::new(Sload16, I32, 2, memarg),
            Operator::I32Load16U { memarg } => Self::new(Uload16, I32, 2, memarg),
            Operator::I64Load8S { memarg } => Self::new(Sload8, I64, 1, memarg),
            Operator::I64Load8U { memarg } => Self::new(Uload8, I64, 1, memarg),
            Operator::I64Load16S { memarg } => Self::new(Sload16, I64, 2, memarg),
            Operator::I64Load16U { memarg } => Self::new(Uload16, I64, 2, memarg),
            Operator::I64Load32S { memarg } => Self::new(Sload32, I64, 4, memarg),
            Operator::I64Load32U { memarg } => Self::new(Uload32, I64, 4, memarg),
            _ => return None,
        })
    }

    fn store(operator: &Operator<'_>) -> Option<Self> {
        use Opcode::{Istore8, Istore16, Istore32, Store};
        use types::{F32, F64, I32, I64};
        Some(match *operator {
            Operator::I32Store { memarg } => Self::new(Store, I32, 4, memarg),
            Operator::I64Store { memarg } => Self::new(Store, I64, 8, memarg),
            Operator::F32Store { memarg } => Self::new(Store, F32, 4, memarg),
            Operator::F64Store { memarg } => Self::new(Store, F64, 8, memarg),
            Operator::I32Store8 { memarg } => Self::new(Istore8, I32, 1, memarg),
            Operator::I32Store16 { memarg } => Self::new(Istore16, I32, 2, memarg),
            Operator::I64Store8 { memarg } => Self::new(Istore8, I64, 1, memarg),
            Operator::I64Store16 { memarg } => Self::new(Istore16, I64, 2, memarg),
            Operator::I64Store32 { memarg } => Self::new(Istore32, I64, 4, memarg),
            _ => return None,
        })
    }
}

impl Translator<'_, '_> {
    /// Translates an instruction on linear memories.
    pub(crate) fn memory(&mut self, operator: &Operator<'_>) -> bool {
        if let Some(width) = Width::load(operator) {
            self.load(&width);
            return true;
        }
        if let Some(width) = Width::store(operator) {
            self.store(&width);
            return true;
        }
        match *operator {
            Operator::MemorySize { mem } => self.memory_size(mem),
            Operator::MemoryGrow { mem } => self.memory_grow(mem),
            Operator::MemoryFill { mem } => self.call_bulk(Builtin::MemoryFill, &[mem], 3),
            Operator::MemoryCopy { dst_mem, src_mem } => {
                self.call_bulk(Builtin::MemoryCopy, &[dst_mem, src_mem], 3);
            }
            Operator::MemoryInit { data_index, mem } => {
                self.call_bulk(Builtin::MemoryInit, &[mem, data_index], 3);
            }
            Operator::DataDrop { data_index } => self.drop_segment(Builtin::DataDrop, data_index),
            _ => return false,
        }
        true
    }

    fn load(&mut self, width: &Width) {
        let index = self.pop();
        let (address, offset) = self.checked_address(index, width);
        let flags = self.heap_flags();
        let (inst, dfg) = self
            .ins()
            .Load(width.opcode, width.ty, flags, offset, address);
        let value = dfg.first_result(inst);
        self.push(value);
    }

    fn store(&mut self, width: &Width) {
        let value = self.pop();
        let index = self.pop();
        let (address, offset) = self.checked_address(index, width);
        let flags = self.heap_flags();
        self.ins()
            .Store(width.opcode, width.ty, flags, offset, value, address);
    }

    fn heap_flags(&mut self) -> MemFlags {
        let heap = self.emit.access.heap;
        let known = &mut self.emit.builder.func.dfg.mem_flags;
        known
            .insert(heap)
            .expect("a function uses a handful of kinds of memory")
    }

    /// The address of an access, and the rest of its offset. Traps unless all of the access is in
    /// the memory.
    ///
    /// The sum of index, offset and size is below 2^33 + 2^4, so it cannot wrap in 64 bits.
    fn checked_address(&mut self, index: Value, width: &Width) -> (Value, Offset32) {
        let memory = self.memory_pointer(width.arg.memory);
        let len = self.memory_len(memory);
        let wide = self.ins().uextend(types::I64, index);
        let reach = width.arg.offset + u64::from(width.bytes);
        let reach = self.ins().iconst(types::I64, reach.cast_signed());
        let end = self.ins().iadd(wide, reach);
        let outside = self.ins().icmp(IntCC::UnsignedGreaterThan, end, len);
        self.trap_if(outside, TrapCode::MemoryOutOfBounds);

        let (pointer, flags) = (self.emit.env.pointer, self.emit.access.bounds);
        let base_at = i32::from(self.emit.env.vm.memory_base());
        let base = self.ins().load(pointer, flags, memory, base_at);
        let index = match pointer {
            types::I64 => wide,
            _ => index,
        };
        let address = self.ins().iadd(base, index);
        match i32::try_from(width.arg.offset) {
            Ok(offset) => (address, offset.into()),
            Err(_) => {
                let offset = self.emit.address(width.arg.offset.cast_signed());
                (self.ins().iadd(address, offset), 0.into())
            }
        }
    }

    fn memory_pointer(&mut self, memory: u32) -> Value {
        let vm = self.emit.env.vm;
        let memories = self.emit.fixed(self.vmctx, vm.context_memories());
        self.emit
            .fixed(memories, array_offset(memory, vm.pointer_bytes()))
    }

    /// The length of a memory in bytes, in 64 bits.
    fn memory_len(&mut self, memory: Value) -> Value {
        let (pointer, flags) = (self.emit.env.pointer, self.emit.access.bounds);
        let offset = i32::from(self.emit.env.vm.memory_len());
        let len = self.ins().load(pointer, flags, memory, offset);
        match pointer {
            types::I64 => len,
            _ => self.ins().uextend(types::I64, len),
        }
    }

    fn memory_size(&mut self, memory: u32) {
        let memory = self.memory_pointer(memory);
        let len = self.memory_len(memory);
        let shift = i64::from(MemoryType::PAGE_BYTES.trailing_zeros());
        let pages = self.ins().ushr_imm_u(len, shift);
        let pages = self.ins().ireduce(types::I32, pages);
        self.push(pages);
    }

    fn memory_grow(&mut self, memory: u32) {
        let delta = self.pop();
        let memory = self.emit.constant(memory);
        let call = self.call_builtin(Builtin::MemoryGrow, &[memory, delta]);
        let old = self.emit.builder.inst_results(call)[0];
        self.push(old);
    }
}
