use crate::mad::{Attribute, AttributeId};

wire! {
    /// The light that shows where a port is (14.2.5.15).
    #[derive(Default)]
    pub struct LedInfo[4] {
        led_mask: u8,
        reserved: [u8; 3],
    }
}

bits! { LedInfo {
    /// `true` if the light is on.
    is_on, set_on: bool = led_mask[7, 7];
} }

impl Attribute for LedInfo {
    const ID: AttributeId = AttributeId::LED_INFO;
}
