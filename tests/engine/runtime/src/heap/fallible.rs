//! Allocations that fail instead of aborting.
//!
//! Guests and hosts decide how much memory a store takes, and a store says so when there is none.
//! What the standard library can only allocate or abort is made here. `Shared` and `Owned` are too.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use vmexternref_core::OutOfMemory;

/// A box of `value`. Gives it back when there is no memory.
pub fn try_box<T>(value: T) -> Result<Box<T>, OutOfMemory<T>> {
    let mut one = Vec::new();
    if one.try_reserve_exact(1).is_err() {
        return Err(OutOfMemory(value));
    }
    one.push(value);
    let one = Box::into_raw(one.into_boxed_slice());
    // SAFETY: a slice of one element has the layout of the element.
    Ok(unsafe { Box::from_raw(one.cast()) })
}

/// Makes room for `more` items, after which so many can be pushed.
pub(crate) fn try_reserve<T>(items: &mut Vec<T>, more: usize) -> Result<(), OutOfMemory> {
    items.try_reserve(more).map_err(|_| OutOfMemory(()))
}

/// An empty list with room for `len` items.
pub(crate) fn try_with_capacity<T>(len: usize) -> Result<Vec<T>, OutOfMemory> {
    let mut items = Vec::new();
    let reserved = items.try_reserve_exact(len);
    reserved.map_err(|_| OutOfMemory(()))?;
    Ok(items)
}

/// Adds `item` at the end, or drops it when there is no memory.
pub(crate) fn try_push<T>(items: &mut Vec<T>, item: T) -> Result<(), OutOfMemory> {
    try_reserve(items, 1)?;
    items.push(item);
    Ok(())
}

/// The text of `shown`.
pub(crate) fn try_to_string(shown: impl fmt::Display) -> Result<String, OutOfMemory> {
    struct Growing(String);

    impl Write for Growing {
        fn write_str(&mut self, more: &str) -> fmt::Result {
            self.0.try_reserve(more.len()).map_err(|_| fmt::Error)?;
            self.0.push_str(more);
            Ok(())
        }
    }

    let mut text = Growing(String::new());
    let written = write!(text, "{shown}");
    written.map_err(|_| OutOfMemory(()))?;
    Ok(text.0)
}

#[cfg(test)]
mod tests {
    use super::{try_box, try_to_string};
    use alloc::rc::Rc;

    #[test]
    fn a_box_owns_its_value() {
        let value = Rc::new(());
        let boxed = try_box((Rc::clone(&value), 7)).unwrap();
        assert_eq!(boxed.1, 7);
        drop(boxed);
        assert_eq!(Rc::strong_count(&value), 1);
        assert_eq!(*try_box(()).unwrap(), ());
    }

    #[test]
    fn a_text_is_what_display_says() {
        let text = try_to_string(format_args!("{} of {:?}", 1, "two"));
        assert_eq!(text.unwrap(), r#"1 of "two""#);
    }
}
