//! The shape of JSON text, before it is parsed. The account can write a file with as many members as there is room for,
//! and in memory each of them takes a hundred bytes.

/// The shape of JSON text. For other text it has no meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How deep arrays and objects are nested.
    pub depth: usize,
    /// How many members the outermost array or object has at most.
    pub members: usize,
}

impl Shape {
    pub fn of(json: &[u8]) -> Shape {
        let mut shape = Shape { depth: 0, members: 1 };
        let (mut depth, mut string, mut escaped) = (0_usize, false, false);
        for byte in json {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => string = !string,
                _ if string => {}
                b'[' | b'{' => {
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                }
                b']' | b'}' => depth = depth.saturating_sub(1),
                b',' if depth == 1 => shape.members += 1,
                _ => {}
            }
        }
        shape
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn depth_and_members_are_counted_outside_of_strings() {
        for (json, depth, members) in [
            ("7", 0, 1),
            ("{}", 1, 1),
            ("[[],[]]", 2, 2),
            ("[[[]],[],[[]]]", 3, 3),
            (r#"{"a":[{"b":{}},1],"c":2}"#, 4, 2),
            (r#"{"[[[,":"{{{,"}"#, 1, 1),
            // An escaped quotation mark ends no string, and an escaped backslash escapes nothing.
            (r#"[["]]",[[]]]]"#, 4, 1),
            (r#"["\",[["]"#, 1, 1),
            (r#"["\\",[[]]]"#, 3, 2),
            (r#"["\\\"[",[]]"#, 2, 2),
            ("]]{,", 1, 2),
            ("", 0, 1),
        ] {
            assert_eq!(Shape::of(json.as_bytes()), Shape { depth, members }, "{json}");
        }
    }
}
