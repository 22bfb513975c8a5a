use core::fmt;

use crate::mad::{Attribute, AttributeId};

wire! {
    /// A node's name for people (14.2.5.2): UTF-8 with zeros after it.
    pub struct NodeDescription[64] {
        /// The bytes, whatever they are.
        pub bytes: [u8; 64],
    }
}

impl Attribute for NodeDescription {
    const ID: AttributeId = AttributeId::NODE_DESCRIPTION;
}

impl NodeDescription {
    /// A description that is `text`, or what fits of it in whole characters.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; 64];
        let end = (0..=text.len().min(bytes.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        Self { bytes }
    }

    /// The bytes before the first zero.
    pub fn text(&self) -> &[u8] {
        self.bytes.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

impl Default for NodeDescription {
    /// Empty.
    fn default() -> Self {
        Self { bytes: [0; 64] }
    }
}

impl fmt::Display for NodeDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().utf8_chunks().try_for_each(|chunk| {
            f.write_str(chunk.valid())?;
            if chunk.invalid().is_empty() { Ok(()) } else { f.write_str("\u{fffd}") }
        })
    }
}
