//! Tables and references.

use crate::emit::array_offset;
use crate::error::CompileError;
use crate::translate::translator::Translator;
use crate::wasm::item;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use vmexternref_engine_abi::{Builtin, TrapCode, ValType};
use wasmparser::Operator;

impl Translator<'_, '_> {
    /// Translates an instruction on tables or references.
    pub(crate) fn table(&mut self, operator: &Operator<'_>) -> Result<bool, CompileError> {
        match *operator {
            // Null keeps nothing alive, so the stack maps need not know it.
            Operator::RefNull { .. } => {
                let null = self.emit.address(0);
                self.push(null);
            }
            Operator::RefIsNull => self.ref_is_null(),
            Operator::RefFunc { function_index } => self.ref_func(function_index),
            Operator::TableGet { table } => self.table_get(table)?,
            Operator::TableSet { table } => self.table_set(table)?,
            Operator::TableSize { table } => self.table_size(table),
            Operator::TableGrow { table } => self.table_grow(table),
            Operator::TableFill { table } => self.call_bulk(Builtin::TableFill, &[table], 3),
            Operator::TableCopy {
                dst_table,
                src_table,
            } => self.call_bulk(Builtin::TableCopy, &[dst_table, src_table], 3),
            Operator::TableInit { elem_index, table } => {
                self.call_bulk(Builtin::TableInit, &[table, elem_index], 3);
            }
            Operator::ElemDrop { elem_index } => self.drop_segment(Builtin::ElemDrop, elem_index),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn ref_is_null(&mut self) {
        let (reference, _) = self.pop_reference();
        let is_null = self.ins().icmp_imm_s(IntCC::Equal, reference, 0);
        let is_null = self.ins().uextend(types::I32, is_null);
        self.push(is_null);
    }

    fn ref_func(&mut self, function: u32) {
        let vm = self.emit.env.vm;
        let functions = self.emit.fixed(self.vmctx, vm.context_functions());
        let offset = array_offset(function, vm.func_ref_size());
        let offset = self.emit.address(i64::from(offset));
        let reference = self.ins().iadd(functions, offset);
        self.push(reference);
    }

    fn table_type(&self, table: u32) -> Result<ValType, CompileError> {
        Ok(item(&self.emit.env.metadata.tables, table)?.element)
    }

    fn table_get(&mut self, table: u32) -> Result<(), CompileError> {
        let index = self.pop();
        let address = self.element_address(table, index, TrapCode::TableOutOfBounds);
        let (pointer, flags) = (self.emit.env.pointer, self.emit.access.elements);
        let element = self.ins().load(pointer, flags, address, 0);
        match self.table_type(table)? {
            ValType::ExternRef => self.push_borrowed(element, None),
            _ => self.push(element),
        }
        Ok(())
    }

    fn table_set(&mut self, table: u32) -> Result<(), CompileError> {
        let (reference, ownership) = self.pop_reference();
        let index = self.pop();
        let address = self.element_address(table, index, TrapCode::TableOutOfBounds);
        let flags = self.emit.access.elements;
        match self.table_type(table)? {
            ValType::ExternRef => self.replace(reference, ownership, address, flags),
            _ => {
                self.ins().store(flags, reference, address, 0);
            }
        }
        Ok(())
    }

    fn table_size(&mut self, table: u32) {
        let table = self.table_pointer(table);
        let len = self.table_len(table);
        let len = match self.type_of(len) {
            types::I32 => len,
            _ => self.ins().ireduce(types::I32, len),
        };
        self.push(len);
    }

    fn table_grow(&mut self, table: u32) {
        let delta = self.pop();
        let initial = self.pop();
        let table = self.emit.constant(table);
        let call = self.call_builtin(Builtin::TableGrow, &[table, initial, delta]);
        let old = self.emit.builder.inst_results(call)[0];
        self.push(old);
    }

    fn table_pointer(&mut self, table: u32) -> Value {
        let vm = self.emit.env.vm;
        let tables = self.emit.fixed(self.vmctx, vm.context_tables());
        self.emit
            .fixed(tables, array_offset(table, vm.pointer_bytes()))
    }

    fn table_len(&mut self, table: Value) -> Value {
        let (pointer, flags) = (self.emit.env.pointer, self.emit.access.bounds);
        let offset = i32::from(self.emit.env.vm.table_len());
        self.ins().load(pointer, flags, table, offset)
    }

    /// The address of an element. Traps with `code` if the table does not have it.
    pub(crate) fn element_address(&mut self, table: u32, index: Value, code: TrapCode) -> Value {
        let table = self.table_pointer(table);
        let len = self.table_len(table);
        let index = self.widen(index);
        let outside = self
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, index, len);
        self.trap_if(outside, code);
        let (pointer, flags) = (self.emit.env.pointer, self.emit.access.bounds);
        let offset = i32::from(self.emit.env.vm.table_base());
        let base = self.ins().load(pointer, flags, table, offset);
        let shift = self.emit.env.vm.pointer_bytes().trailing_zeros();
        let offset = self.ins().ishl_imm_u(index, i64::from(shift));
        self.ins().iadd(base, offset)
    }
    /// An index as wide as an address.
    fn widen(&mut self, index: Value) -> Value {
        match self.emit.env.pointer {
            types::I32 => index,
            pointer => self.ins().uextend(pointer, index),
        }
    }
}
