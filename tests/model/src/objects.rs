//! The values in the boxes, and the ledger of their destructors.

use core::cell::RefCell;
use std::rc::Rc;
use vmexternref_core::{CycleCollector, Trace, VMExternRef};

/// An object of the model, by number.
pub(crate) type Id = usize;

/// Which objects were dropped.
#[derive(Debug, Default)]
pub(crate) struct Ledger(RefCell<Vec<bool>>);

impl Ledger {
    pub(crate) fn is_dropped(&self, id: Id) -> bool {
        self.0.borrow()[id]
    }

    fn open(&self) -> Id {
        let mut dropped = self.0.borrow_mut();
        dropped.push(false);
        dropped.len() - 1
    }

    fn close(&self, id: Id) {
        let before = core::mem::replace(&mut self.0.borrow_mut()[id], true);
        assert!(!before, "object {id} was dropped twice");
    }
}

/// What all values have, whatever their type.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) id: Id,
    pub(crate) links: RefCell<Vec<VMExternRef>>,
    ledger: Rc<Ledger>,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.ledger.close(self.id);
    }
}

/// Values of different sizes and alignments, with a pattern that must stay.
#[derive(Debug)]
struct Value<P> {
    payload: P,
    object: Object,
}

trait Payload: Copy + Eq + 'static {
    fn of(id: Id) -> Self;
}

impl Payload for u8 {
    fn of(id: Id) -> Self {
        id.to_le_bytes()[0] ^ 0xa5
    }
}

impl Payload for [usize; 9] {
    fn of(id: Id) -> Self {
        [!id; 9]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(128))]
struct Wide(usize);

impl Payload for Wide {
    fn of(id: Id) -> Self {
        Self(id.wrapping_mul(0x9e37_79b9))
    }
}

impl<P: 'static> Trace for Value<P> {
    fn trace(&self, visit: &mut dyn FnMut(&VMExternRef)) {
        if let Ok(links) = self.object.links.try_borrow() {
            links.iter().for_each(visit);
        }
    }

    fn unlink(&self) {
        drop(self.object.links.take());
    }
}

/// How a box is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Making {
    /// Which of the types its value has.
    pub(crate) shape: u8,
    /// Which of the constructors makes it.
    pub(crate) constructor: u8,
}

/// Makes an object in a box, traced or not.
pub(crate) fn make(
    making: Making,
    collector: Option<&CycleCollector>,
    ledger: &Rc<Ledger>,
) -> (Id, VMExternRef) {
    match making.shape % 3 {
        0 => make_as::<u8>(making, collector, ledger),
        1 => make_as::<[usize; 9]>(making, collector, ledger),
        _ => make_as::<Wide>(making, collector, ledger),
    }
}

fn make_as<P: Payload>(
    making: Making,
    collector: Option<&CycleCollector>,
    ledger: &Rc<Ledger>,
) -> (Id, VMExternRef) {
    let id = ledger.open();
    let value = || Value {
        payload: P::of(id),
        object: Object {
            id,
            links: RefCell::default(),
            ledger: ledger.clone(),
        },
    };
    let there_is = "there is memory for a box";
    let reference = match (collector, making.constructor % 4) {
        (Some(collector), 0 | 1) => collector.new_traced(value()),
        (Some(collector), _) => collector.try_new_traced(value()).ok().expect(there_is),
        (None, 0) => VMExternRef::new(value()),
        (None, 1) => VMExternRef::new_with(value),
        (None, 2) => VMExternRef::try_new(value()).ok().expect(there_is),
        (None, _) => VMExternRef::try_new_with(value).ok().expect(there_is),
    };
    (id, reference)
}

/// The object in a box, whose value is looked at.
pub(crate) fn object(reference: &VMExternRef) -> &Object {
    object_as::<u8>(reference)
        .or_else(|| object_as::<[usize; 9]>(reference))
        .or_else(|| object_as::<Wide>(reference))
        .expect("a box is of one of the types")
}

fn object_as<P: Payload>(reference: &VMExternRef) -> Option<&Object> {
    let value = reference.downcast_ref::<Value<P>>()?;
    assert!(reference.is::<Value<P>>(), "two ways to ask for the type");
    assert!(
        value.payload == P::of(value.object.id),
        "the value of object {} has changed",
        value.object.id
    );
    let offset = core::ptr::from_ref(value).addr() % align_of::<Value<P>>();
    assert_eq!(offset, 0, "a value is aligned");
    Some(&value.object)
}
