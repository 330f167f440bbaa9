//! Modules that come and go.

use crate::modules::{Code, Module};
use crate::world::{MODULES, World};
use arbitrary::{Result, Unstructured};
use vmexternref_core::StackMapRegistry;

impl World {
    pub(super) fn is_registered(&self, place: usize) -> bool {
        let module = self.modules[place].as_ref();
        module.is_some_and(|module| !module.registrations.is_empty())
    }

    fn is_used(&self, place: usize) -> bool {
        let activations = self.stacks.iter().flat_map(|stack| &stack.activations);
        let mut frames = activations.flat_map(|activation| &activation.frames);
        frames.any(|frame| frame.module == place)
    }

    pub(super) fn register(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let place = u.int_in_range(0..=MODULES - 1)?;
        self.register_at(place, u)
    }

    /// Registers the module of a place once more, or another one where there is none.
    pub(super) fn register_at(&mut self, place: usize, u: &mut Unstructured<'_>) -> Result<()> {
        if !self.is_registered(place) && !self.is_used(place) {
            self.modules[place] = Some(Module::arbitrary(place, u)?);
        }
        let module = self.modules[place].as_mut();
        let module = module.expect("there is one now");
        let registration = self.registry.register(module.base(), module.declare());
        let registration = registration.expect("the same module, or none, is there");
        module.registrations.push(registration);
        if u.ratio(1, 8)? {
            let foreign = StackMapRegistry::new();
            let theirs = foreign.register(module.base(), module.declare());
            let theirs = theirs.expect("an empty registry takes it");
            // SAFETY: a registration of another registry is refused.
            let refused = unsafe { self.registry.unregister(theirs) };
            assert!(refused.is_err(), "it is another registry's");
            let other = Module::arbitrary(place, u)?.declare();
            let overlap = self.registry.register(module.base() + 1, other);
            assert!(overlap.is_err(), "code is there already");
        }
        Ok(())
    }

    pub(super) fn unregister(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let place = u.int_in_range(0..=MODULES - 1)?;
        let used = self.is_used(place);
        let Some(module) = &mut self.modules[place] else {
            return Ok(());
        };
        let last = module.registrations.len() == 1;
        if last && used && !self.faults.modules {
            return Ok(());
        }
        if let Some(registration) = module.registrations.pop() {
            // SAFETY: no frame of this code is on any stack, or else each walker that is used from
            // here on says of such a frame that it is compiled code.
            unsafe { self.registry.unregister(registration) }.expect("it is of this registry");
            if last {
                self.tally.count(if used {
                    "modules unregistered while they run"
                } else {
                    "modules unregistered"
                });
            }
        }
        Ok(())
    }

    pub(super) fn look_up(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let place = u.int_in_range(0..=MODULES - 1)?;
        if let Some(module) = &self.modules[place] {
            let pc = module.base() + u.int_in_range(0..=0x120)?;
            let code = if module.registrations.is_empty() {
                Code::Outside
            } else {
                module.at(pc)
            };
            let wasm = matches!(code, Code::Wasm(_) | Code::Undeclared);
            assert_eq!(self.registry.is_wasm(pc), wasm, "{pc:#x}");
            let is_code = wasm || matches!(code, Code::Other);
            assert_eq!(self.registry.is_code(pc), is_code, "{pc:#x}");
        }
        self.registry.reclaim();
        Ok(())
    }
}
