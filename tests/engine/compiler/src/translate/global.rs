//! Global variables.

use crate::emit::array_offset;
use crate::error::CompileError;
use crate::translate::translator::Translator;
use crate::wasm::item;
use cranelift_codegen::ir::{InstBuilder, Value};
use vmexternref_engine_abi::ValType;

impl Translator<'_, '_> {
    /// `global.get`
    pub(crate) fn global_get(&mut self, index: u32) -> Result<(), CompileError> {
        let ty = self.global_type(index)?;
        let global = self.global_pointer(index);
        let (offset, flags) = (self.value_offset(ty), self.emit.access.globals);
        let machine_type = self.value_type(ty);
        let value = self.ins().load(machine_type, flags, global, offset);
        match ty {
            ValType::ExternRef => self.push_borrowed(value, Some(index)),
            _ => self.push(value),
        }
        Ok(())
    }

    /// `global.set`
    pub(crate) fn global_set(&mut self, index: u32) -> Result<(), CompileError> {
        let ty = self.global_type(index)?;
        let (offset, flags) = (self.value_offset(ty), self.emit.access.globals);
        if ty == ValType::ExternRef {
            let taken_over = self.take_over_count(index);
            let (value, ownership) = self.pop_reference();
            let global = self.global_pointer(index);
            if taken_over {
                self.count(value, ownership);
                self.ins().store(flags, value, global, offset);
            } else {
                let offset = self.emit.address(offset.into());
                let address = self.ins().iadd(global, offset);
                self.replace(value, ownership, address, flags);
            }
        } else {
            let value = self.pop();
            let global = self.global_pointer(index);
            self.ins().store(flags, value, global, offset);
        }
        Ok(())
    }

    /// Where a global's value lies in it.
    fn value_offset(&self, ty: ValType) -> i32 {
        let env = self.emit.env;
        i32::from(env.vm.global_value()) + env.offset_in_slot(env.value_type(ty))
    }

    fn global_type(&self, index: u32) -> Result<ValType, CompileError> {
        Ok(item(&self.emit.env.metadata.globals, index)?.value)
    }

    fn global_pointer(&mut self, index: u32) -> Value {
        let vm = self.emit.env.vm;
        let globals = self.emit.fixed(self.vmctx, vm.context_globals());
        self.emit
            .fixed(globals, array_offset(index, vm.pointer_bytes()))
    }
}
