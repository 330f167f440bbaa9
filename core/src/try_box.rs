//! A box that reports when memory is out.

use alloc::alloc::alloc;
use alloc::boxed::Box;
use core::alloc::Layout;

/// Moves `value` into a box.
///
/// # Errors
///
/// The value, when memory is out.
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, T> {
    const { assert!(size_of::<T>() != 0, "an empty value needs no memory") };
    // SAFETY: the layout is not empty, as the constant above checks.
    let place = unsafe { alloc(Layout::new::<T>()) }.cast::<T>();
    if place.is_null() {
        return Err(value);
    }
    // SAFETY: the global allocator gave memory for one `T`, as a box wants it, and the value is
    // written before the box is made.
    Ok(unsafe {
        place.write(value);
        Box::from_raw(place)
    })
}

#[cfg(test)]
mod tests {
    use super::try_box;

    #[test]
    fn the_value_is_in_the_box() {
        assert_eq!(*try_box([1_u64, 2, 3]).unwrap(), [1, 2, 3]);
    }
}
