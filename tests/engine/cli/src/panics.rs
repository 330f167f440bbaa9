//! Panics as messages.

use core::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`, and returns the message of a panic in it.
pub(crate) fn catch<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| describe(&*payload))
}

/// The message of a panic.
pub(crate) fn describe(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::catch;
    use std::panic::panic_any;

    #[test]
    fn a_panic_keeps_its_message() {
        let what = String::from("luck");
        let formatted = catch(|| panic!("no {what}"));
        assert_eq!(formatted, Err::<(), _>("no luck".to_owned()));
        let fixed = catch(|| panic!("no luck"));
        assert_eq!(fixed, Err::<(), _>("no luck".to_owned()));
        let other = catch(|| panic_any(7));
        assert_eq!(other, Err::<(), _>("a panic without a message".to_owned()));
    }
}
