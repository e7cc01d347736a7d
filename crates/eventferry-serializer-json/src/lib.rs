//! JSON payloads for [`Event`]s, from anything that serializes.

use std::fmt;

use eventferry_core::Event;
use serde::Serialize;

/// Sets an event's payload from a value that serializes.
///
/// ```
/// use eventferry_core::Event;
/// use eventferry_serializer_json::Json as _;
///
/// #[derive(serde::Serialize)]
/// struct OrderCreated {
///     total: u32,
/// }
///
/// let event = Event::new("orders.created", ("order", 42)).json(&OrderCreated { total: 7 })?;
/// assert_eq!(event.payload.as_deref(), Some(&br#"{"total":7}"#[..]));
/// # Ok::<(), eventferry_serializer_json::NotJson>(())
/// ```
pub trait Json: Sized {
    /// Sets the payload to `value` as JSON, and the content type to `application/json`.
    ///
    /// # Errors
    /// The value has no JSON form, such as a map whose keys are not strings; change its type.
    fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, NotJson>;
}

impl Json for Event {
    fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, NotJson> {
        let bytes = serde_json::to_vec(value).map_err(NotJson)?;
        Ok(self.payload(bytes, "application/json"))
    }
}

/// A value has no JSON form.
#[derive(Debug)]
pub struct NotJson(serde_json::Error);

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the value has no JSON form: {}", self.0)
    }
}

impl std::error::Error for NotJson {}
