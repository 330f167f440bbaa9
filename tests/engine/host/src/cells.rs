//! The functions of the module for objects that refer to each other.

use crate::host::{Host, HostFunction, mistyped};
use crate::object::{HostKind, HostObject};
use crate::references::References;
use vmexternref_core::VMExternRef;
use vmexternref_engine_runtime::ValType::{ExternRef, I32};
use vmexternref_engine_runtime::{Caller, Trap, Val};

/// The functions that make cycles of objects, and free them.
pub(crate) const FUNCTIONS: [HostFunction<Host>; 6] = [
    ("cell", &[], &[ExternRef], cell),
    ("cell_get", &[ExternRef, I32], &[ExternRef], cell_get),
    ("cell_set", &[ExternRef, I32, ExternRef], &[], cell_set),
    ("collect_cycles", &[], &[], collect_cycles),
    ("weak", &[ExternRef], &[ExternRef], weak),
    ("upgrade", &[ExternRef], &[ExternRef], upgrade),
];

/// Collects first if that is due, so that nobody has to ask for it.
///
/// A cell that is made meanwhile, by a destructor, collects nothing.
fn cell(host: &Host, caller: &Caller<'_>, _: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    if host.is_cycle_collection_due() || caller.store().is_zealous() {
        host.collect_cycles();
    }
    results[0] = host.cell();
    Ok(())
}

/// The references of the cell behind an argument of the host function `function`.
fn references<'a>(
    function: &str,
    argument: Option<&'a VMExternRef>,
) -> Result<&'a References, Trap> {
    match HostObject::behind(function, argument)? {
        HostKind::Cell(references) => Ok(references),
        kind => Err(Trap::host(format_args!(
            "host.{function}: {kind} is not a cell"
        ))),
    }
}

/// What a cell has at `index`.
fn at<T>(function: &str, index: i32, found: impl FnOnce(usize) -> Option<T>) -> Result<T, Trap> {
    let found = usize::try_from(index).ok().and_then(found);
    found.ok_or_else(|| {
        Trap::host(format_args!(
            "host.{function}: a cell has no reference {index}"
        ))
    })
}

fn cell_get(_: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(cell), Val::I32(index)] = args else {
        return Err(mistyped());
    };
    let references = references("cell_get", cell.as_ref())?;
    results[0] = Val::ExternRef(at("cell_get", *index, |index| references.get(index))?);
    Ok(())
}

fn cell_set(_: &Host, _: &Caller<'_>, args: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(cell), Val::I32(index), Val::ExternRef(value)] = args else {
        return Err(mistyped());
    };
    let references = references("cell_set", cell.as_ref())?;
    let before = at("cell_set", *index, |index| {
        references.replace(index, value.clone())
    })?;
    drop(before);
    Ok(())
}

fn collect_cycles(host: &Host, _: &Caller<'_>, _: &[Val], _: &mut [Val]) -> Result<(), Trap> {
    host.collect_cycles();
    Ok(())
}

fn weak(host: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(reference)] = args else {
        return Err(mistyped());
    };
    let kind = HostObject::behind("weak", reference.as_ref())?;
    let weak = reference.as_ref().and_then(VMExternRef::downgrade);
    let weak = weak.ok_or_else(|| Trap::host(format_args!("host.weak: {kind} is not a cell")))?;
    results[0] = host.object(|| HostKind::Weak(weak));
    Ok(())
}

fn upgrade(_: &Host, _: &Caller<'_>, args: &[Val], results: &mut [Val]) -> Result<(), Trap> {
    let [Val::ExternRef(reference)] = args else {
        return Err(mistyped());
    };
    let HostKind::Weak(weak) = HostObject::behind("upgrade", reference.as_ref())? else {
        let kind = HostObject::behind("upgrade", reference.as_ref())?;
        return Err(Trap::host(format_args!(
            "host.upgrade: {kind} is not a weak reference"
        )));
    };
    results[0] = Val::ExternRef(weak.upgrade());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::ExternRef;
    use crate::object::Census;
    use crate::testing::{Recorder, call, numbers, store};
    use crate::{CycleEvent, Host, HostKind, mistyped};
    use alloc::boxed::Box;
    use alloc::rc::Rc;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use core::cell::{Cell, RefCell};
    use core::slice;
    use vmexternref_core::VMExternRef;
    use vmexternref_engine_runtime::ValType::I64;
    use vmexternref_engine_runtime::{CallError, FuncType, Linker, Store, Val};

    /// A store whose linker has the module.
    struct Module {
        linker: Linker,
        store: Store,
        host: Host,
    }

    impl Module {
        fn new() -> Self {
            let host = Host::new(Rc::new(Recorder::default()), Census::default());
            let (store, mut linker) = (store(), Linker::new());
            host.define(&store, &mut linker).unwrap();
            Self {
                linker,
                store,
                host,
            }
        }

        fn try_call(&self, name: &str, args: &[Val]) -> Result<Vec<Val>, CallError> {
            call(&self.store, &self.linker, name, args)
        }

        fn call(&self, name: &str, args: &[Val]) -> Option<Val> {
            self.try_call(name, args).unwrap().pop()
        }

        fn cell(&self) -> Val {
            self.call("cell", &[]).unwrap()
        }

        fn set(&self, cell: &Val, index: i32, value: &Val) {
            self.call("cell_set", &[cell.clone(), Val::I32(index), value.clone()]);
        }

        fn get(&self, cell: &Val, index: i32) -> Val {
            let args = [cell.clone(), Val::I32(index)];
            self.call("cell_get", &args).unwrap()
        }

        /// Two cells that refer to each other.
        fn circle(&self) -> [Val; 2] {
            let [one, other] = [(); 2].map(|()| self.cell());
            self.set(&one, 1, &other);
            self.set(&other, 0, &one);
            [one, other]
        }

        fn live(&self) -> u64 {
            assert_eq!(
                numbers(&self.try_call("live", &[]).unwrap()),
                [self.host.census().alive().cast_signed()]
            );
            self.host.census().alive()
        }
    }

    fn is_same(one: &Val, other: &Val) -> bool {
        match (one, other) {
            (Val::ExternRef(Some(one)), Val::ExternRef(Some(other))) => VMExternRef::eq(one, other),
            (Val::ExternRef(None), Val::ExternRef(None)) => true,
            _ => false,
        }
    }

    const NULL: Val = Val::ExternRef(None);

    #[test]
    fn cells_hold_any_object_and_null() {
        let module = Module::new();
        let (cell, value) = (module.cell(), module.call("new", &[Val::I64(1)]).unwrap());
        for index in [0, 1] {
            assert!(is_same(&module.get(&cell, index), &NULL));
            for content in [&value, &cell, &NULL] {
                module.set(&cell, index, content);
                assert!(is_same(&module.get(&cell, index), content));
            }
        }
        module.set(&cell, 0, &value);
        drop((cell, value));
        assert_eq!(module.live(), 2, "the activations table holds both");
        module.call("gc", &[]);
        assert_eq!(module.live(), 0, "no cycle: no collection is needed");
    }

    #[test]
    fn a_cycle_takes_both_collections_in_this_order() {
        let module = Module::new();
        drop(module.circle());
        module.call("collect_cycles", &[]);
        assert_eq!(module.live(), 2, "the table's entries are outside holders");
        module.call("gc", &[]);
        assert_eq!(module.live(), 2);
        module.call("collect_cycles", &[]);
        assert_eq!(module.live(), 0);
    }

    #[test]
    fn a_due_collection_needs_nobody_to_ask() {
        let module = Module::new();
        let seen = Rc::<RefCell<Vec<_>>>::default();
        let reports = Rc::clone(&seen);
        module.host.set_cycle_observer(Box::new(move |event| {
            if let CycleEvent::Ended(report) = event {
                reports.borrow_mut().push((report.boxes, report.freed));
            }
        }));
        for _ in 0..256 {
            drop(module.circle());
        }
        module.call("gc", &[]);
        assert_eq!((module.live(), seen.borrow().len()), (512, 0));
        let kept = module.cell();
        assert_eq!((module.live(), seen.take()), (1, [(512, 512)].into()));
        drop(kept);
    }

    #[test]
    fn weak_references_are_null_when_their_cell_is_gone() {
        let module = Module::new();
        let circle = module.circle();
        let weak = module.call("weak", &circle[..1]).unwrap();
        let upgrade = || module.call("upgrade", slice::from_ref(&weak)).unwrap();
        assert!(is_same(&upgrade(), &circle[0]));
        assert_eq!(module.live(), 3, "weak references are objects");
        drop(circle);
        module.call("gc", &[]);
        module.call("collect_cycles", &[]);
        assert!(is_same(&upgrade(), &NULL));
        assert_eq!(module.live(), 1);
    }

    #[test]
    fn mistaken_references_are_traps() {
        let module = Module::new();
        let value = module.call("new", &[Val::I64(1)]).unwrap();
        let stranger = Val::ExternRef(Some(VMExternRef::new(1)));
        let cell = module.cell();
        let zero = Val::I32(0);
        for (name, args, message) in [
            (
                "cell_get",
                &[NULL, zero.clone()][..],
                "the reference is null",
            ),
            (
                "cell_set",
                &[NULL, zero.clone(), NULL],
                "the reference is null",
            ),
            (
                "cell_get",
                &[value.clone(), zero.clone()],
                "value 1 is not a cell",
            ),
            (
                "cell_set",
                &[value.clone(), zero.clone(), NULL],
                "value 1 is not a cell",
            ),
            (
                "cell_get",
                &[cell.clone(), Val::I32(2)],
                "a cell has no reference 2",
            ),
            (
                "cell_get",
                &[cell.clone(), Val::I32(-1)],
                "a cell has no reference -1",
            ),
            (
                "cell_set",
                &[cell.clone(), Val::I32(2), NULL],
                "a cell has no reference 2",
            ),
            ("cell_get", &[stranger, zero], "not an object of this host"),
            ("weak", &[NULL], "the reference is null"),
            ("weak", &[value], "value 1 is not a cell"),
            ("upgrade", &[NULL], "the reference is null"),
            ("upgrade", &[cell], "cell is not a weak reference"),
        ] {
            let error = module.try_call(name, args).unwrap_err();
            assert_eq!(error.to_string(), alloc::format!("host.{name}: {message}"));
        }
    }

    /// A destructor in a cycle finds the weak references to it dead, and may make cells.
    #[test]
    fn destructors_in_cycles_may_use_the_module() {
        let module = Module::new();
        let circle = module.circle();
        let weak = module.call("weak", &circle[..1]).unwrap();
        let Val::ExternRef(Some(reference)) = &weak else {
            panic!("{weak:?}");
        };
        let (reference, host) = (reference.clone(), module.host.clone());
        let ran = Rc::new(Cell::new(false));
        let seen = Rc::clone(&ran);
        let destructor =
            module
                .host
                .func(&module.store, FuncType::new([I64], []), move |_, _, _| {
                    let Ok(HostKind::Weak(weak)) =
                        crate::HostObject::behind("test", Some(&reference))
                    else {
                        return Err(mistyped());
                    };
                    seen.set(weak.upgrade().is_none());
                    host.collect_cycles();
                    drop(host.cell());
                    Ok(())
                });
        let args = [Val::I64(1), Val::FuncRef(Some(destructor.unwrap()))];
        let finalized = module.call("new_finalized", &args).unwrap();
        module.set(&circle[0], 0, &finalized);
        drop((circle, finalized));
        module.call("gc", &[]);
        assert!(!ran.get());
        module.call("collect_cycles", &[]);
        assert!(ran.get());
        assert_eq!(module.live(), 1, "the weak reference");
    }

    #[test]
    fn cycles_that_a_store_leaves_go_with_the_last_host() {
        let module = Module::new();
        let holder = FuncType::new([ExternRef], []);
        let kept = Rc::<RefCell<Vec<Val>>>::default();
        let keeper = Rc::clone(&kept);
        let keep = module.host.func(&module.store, holder, move |_, args, _| {
            keeper.borrow_mut().extend_from_slice(args);
            Ok(())
        });
        keep.unwrap()
            .call(&module.store, &module.circle()[..1])
            .unwrap();
        let Module {
            linker,
            store,
            host,
        } = module;
        let census = host.census().clone();
        drop((linker, store));
        assert_eq!(census.alive(), 2);
        kept.take();
        drop(host);
        assert_eq!(census.alive(), 0);
    }
}
