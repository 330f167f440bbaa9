//! The objects behind the guest's references.

use crate::platform::Platform;
use crate::references::References;
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::any::Any;
use core::cell::{Cell, RefCell};
use core::fmt;
use vmexternref_core::{Trace, VMExternRef, WeakExternRef};
use vmexternref_engine_runtime::{Func, Trap, Val, WeakStore};

/// Numbers the host objects, and counts those that are alive; clones count together.
#[derive(Clone, Default)]
pub struct Census {
    counts: Rc<Counts>,
}

#[derive(Default)]
struct Counts {
    made: Cell<u64>,
    alive: Cell<u64>,
    observer: RefCell<Option<Rc<dyn CensusObserver>>>,
}

/// Hears of host objects as they come and go.
pub trait CensusObserver {
    /// `object` was made, and is about to be boxed.
    fn made(&self, object: &HostObject);

    /// `object` is about to be dropped.
    fn dropped(&self, object: &HostObject);
}

impl Census {
    /// The number of host objects that are alive now.
    #[must_use]
    pub fn alive(&self) -> u64 {
        self.counts.alive.get()
    }

    /// The number of host objects that were made so far.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.counts.made.get()
    }

    /// Tells `observer` of each object that is made or dropped from now on.
    pub fn observe(&self, observer: Rc<dyn CensusObserver>) {
        let before = self.counts.observer.replace(Some(observer));
        drop(before);
    }

    fn tell(&self, what: impl FnOnce(&dyn CensusObserver)) {
        let observer = self.counts.observer.borrow().clone();
        if let Some(observer) = observer {
            what(&*observer);
        }
    }

    /// Wraps `kind` as an object that is counted until it is dropped.
    #[must_use]
    pub fn object(&self, kind: HostKind) -> HostObject {
        let Counts { made, alive, .. } = &*self.counts;
        made.set(made.get() + 1);
        alive.set(alive.get() + 1);
        let object = HostObject {
            kind,
            number: made.get(),
            census: self.clone(),
        };
        self.tell(|observer| observer.made(&object));
        object
    }
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census")
            .field("alive", &self.alive())
            .finish_non_exhaustive()
    }
}

/// A value of the host in a reference of the guest.
pub struct HostObject {
    // Dropped after the object has left the census: a destructor that asks sees one object less.
    kind: HostKind,
    number: u64,
    census: Census,
}

impl HostObject {
    /// The kind of the object.
    #[must_use]
    pub fn kind(&self) -> &HostKind {
        &self.kind
    }

    /// The number of the object: the first one that its census made has 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The kind of the object behind an argument of the host function `function`.
    ///
    /// # Errors
    ///
    /// A trap, if the argument is null or refers to an object of somebody else.
    pub fn behind<'a>(
        function: &str,
        argument: Option<&'a VMExternRef>,
    ) -> Result<&'a HostKind, Trap> {
        let reference = argument
            .ok_or_else(|| Trap::host(format_args!("host.{function}: the reference is null")))?;
        reference
            .downcast_ref::<Self>()
            .map(Self::kind)
            .ok_or_else(|| Trap::host(format_args!("host.{function}: not an object of this host")))
    }
}

impl Drop for HostObject {
    fn drop(&mut self) {
        self.census.tell(|observer| observer.dropped(self));
        let alive = &self.census.counts.alive;
        alive.set(alive.get() - 1);
    }
}

/// Only cells own references.
impl Trace for HostObject {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        if let HostKind::Cell(references) = &self.kind {
            references.trace(visit);
        }
    }

    fn unlink(&self) {
        if let HostKind::Cell(references) = &self.kind {
            references.unlink();
        }
    }
}

impl fmt::Debug for HostObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostObject({})", self.kind)
    }
}

/// The kinds of host objects.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostKind {
    /// A number.
    Value(i64),
    /// A number whose destructor calls the guest.
    Finalized(Finalized),
    /// References to other objects.
    Cell(References),
    /// A reference to a cell that does not keep it alive.
    Weak(WeakExternRef),
    /// Something that only some hosts have, such as an open file.
    Resource(Box<dyn Resource>),
}

/// An object that only some hosts have; its `Display` describes it.
pub trait Resource: Any + fmt::Debug + fmt::Display {}

impl HostKind {
    /// The number that the object holds, if it holds one.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Value(number) => Some(*number),
            Self::Finalized(object) => Some(object.number),
            Self::Cell(_) | Self::Weak(_) | Self::Resource(_) => None,
        }
    }

    /// The resource, if the object is one of this type.
    #[must_use]
    pub fn resource<T: Resource>(&self) -> Option<&T> {
        match self {
            Self::Resource(resource) => (&**resource as &dyn Any).downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Display for HostKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(number) => write!(f, "value {number}"),
            Self::Finalized(object) => write!(f, "finalized value {}", object.number),
            Self::Cell(_) => f.write_str("cell"),
            Self::Weak(_) => f.write_str("weak reference"),
            Self::Resource(resource) => resource.fmt(f),
        }
    }
}

/// A number whose destructor calls a function of the guest.
#[derive(Debug)]
pub struct Finalized {
    pub(crate) number: i64,
    pub(crate) store: WeakStore,
    pub(crate) function: Func,
    pub(crate) platform: Rc<dyn Platform>,
}

impl Drop for Finalized {
    fn drop(&mut self) {
        // A store that is being dropped runs nothing any more.
        let Some(store) = self.store.upgrade() else {
            return;
        };
        // Its failure stops nobody else.
        if let Err(error) = self.function.call(&store, &[Val::I64(self.number)]) {
            self.platform
                .print(format_args!("a destructor failed: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Census, CensusObserver, HostKind, HostObject};
    use crate::host::Host;
    use crate::testing::{Recorder, call, store};
    use alloc::rc::Rc;
    use alloc::vec::Vec;
    use core::cell::{Cell, RefCell};
    use vmexternref_engine_runtime::ValType::I64;
    use vmexternref_engine_runtime::{FuncType, Linker, Trap, TrapCode, Val};

    #[test]
    fn the_census_follows_objects() {
        let census = Census::default();
        let first = census.object(HostKind::Value(1));
        let second = census.object(HostKind::Value(2));
        assert_eq!(census.alive(), 2);
        drop(first);
        assert_eq!(census.alive(), 1);
        drop(second);
        assert_eq!(census.alive(), 0);
    }

    /// Writes down the numbers of objects, negative when they go.
    #[derive(Default)]
    struct Numbers(RefCell<Vec<i64>>);

    impl CensusObserver for Numbers {
        fn made(&self, object: &HostObject) {
            self.0.borrow_mut().push(object.number().cast_signed());
        }

        fn dropped(&self, object: &HostObject) {
            self.0.borrow_mut().push(-object.number().cast_signed());
        }
    }

    #[test]
    fn an_observer_hears_of_each_object_once() {
        let (census, numbers) = (Census::default(), Rc::new(Numbers::default()));
        drop(census.object(HostKind::Value(0)));
        census.clone().observe(Rc::clone(&numbers) as _);
        let [second, third] = [1, 2].map(|number| census.object(HostKind::Value(number)));
        drop(third);
        drop(second);
        assert_eq!(*numbers.0.borrow(), [2, 3, -3, -2]);
    }

    #[test]
    fn a_destructor_runs_once_and_its_failures_are_printed() {
        let (store, recorder) = (store(), Rc::new(Recorder::default()));
        let host = Host::new(Rc::clone(&recorder) as _, Census::default());
        let mut linker = Linker::new();
        host.define(&store, &mut linker).unwrap();
        let sum = Rc::new(Cell::new(0));
        let (seen, census) = (Rc::clone(&sum), host.census().clone());
        let destructor = host.func(&store, FuncType::new([I64], []), move |_, args, _| {
            let [Val::I64(number)] = args else {
                return Err(crate::mistyped());
            };
            seen.set(seen.get() + number);
            assert_eq!(census.alive(), 0, "the object is no longer counted");
            match number {
                1 => Ok(()),
                2 => Err(Trap::from(TrapCode::Unreachable)),
                _ => panic!("no luck"),
            }
        });
        let destructor = Val::FuncRef(Some(destructor.unwrap()));
        let make = |number| {
            let args = [Val::I64(number), destructor.clone()];
            call(&store, &linker, "new_finalized", &args).unwrap()
        };
        for (number, total) in [(1, 1), (2, 3), (4, 7)] {
            drop(make(number));
            store.gc();
            assert_eq!(sum.get(), total);
        }
        let lines = [
            "a destructor failed: unreachable",
            "a destructor failed: a host function panicked: no luck",
        ];
        assert_eq!(recorder.lines(), lines);

        let late = make(8);
        store.gc();
        drop((linker, store));
        drop(late);
        assert_eq!(sum.get(), 7, "the store was gone");
    }
}
