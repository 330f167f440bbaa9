//! The page: one HTML file that needs no other.

use super::recording::{Detail, Object, Row};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::rc::Rc;

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// What the collections of a run saw and did.
///
/// A page has a bounded size, about 4 MiB: of a long run it shows the first and the last
/// collections, and the one with the most references, and says how many it leaves out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    pub(super) program: String,
    pub(super) engine: String,
    pub(super) walker: String,
    pub(super) totals: Totals,
    pub(super) rows: Vec<Row>,
    pub(super) rows_left_out: usize,
    pub(super) details: Vec<Detail>,
    pub(super) details_left_out: usize,
    pub(super) functions: Vec<String>,
    #[serde(serialize_with = "by_number")]
    pub(super) objects: BTreeMap<u64, Rc<Object>>,
}

/// Serializes the objects behind the pointers.
fn by_number<S: Serializer>(objects: &BTreeMap<u64, Rc<Object>>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(objects.iter().map(|(number, object)| (number, &**object)))
}

/// The run as a whole.
#[derive(Debug, Serialize)]
pub(super) struct Totals {
    pub(super) collections: usize,
    /// Objects that were made, and that collections freed.
    pub(super) made: u64,
    pub(super) freed: u64,
    /// Collections that met broken contracts.
    pub(super) broken: usize,
}

impl Page {
    /// The page as HTML.
    #[must_use]
    pub fn html(&self) -> String {
        // `None` stands for a value that cannot be serialized, which these types do not have.
        let data = serde_json::to_string(self).unwrap_or_default();
        FRAME
            .replace("/* style */", STYLE)
            .replace("/* script */", SCRIPT)
            .replace("/* data */", &escape(&data))
    }
}

/// Makes JSON fit for a `script` element, which the first `</script` would end.
///
/// In JSON a `<` is in strings only, where the escape means the same.
fn escape(json: &str) -> String {
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::{FRAME, SCRIPT, STYLE, escape};

    #[test]
    fn no_text_of_a_guest_ends_the_data() {
        let data = escape(r#"{"name":"</script><!--<script>"}"#);
        assert!(!data.contains('<'), "{data}");
    }

    #[test]
    fn the_page_loads_nothing() {
        for part in [FRAME, STYLE, SCRIPT] {
            let part = part.replace("http://www.w3.org/2000/svg", "");
            for word in [
                "http:",
                "https:",
                "//cdn",
                "@import",
                "url(",
                "fetch(",
                "innerHTML",
            ] {
                assert!(!part.contains(word), "{word}");
            }
        }
    }
}
