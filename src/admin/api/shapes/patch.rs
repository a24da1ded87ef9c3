//! What `null` means in a `PATCH`: where a `GET` shows null, to go back to that; anywhere else it is refused.
//!
//! Each is a `deserialize_with` beside `default`: what is not there is `None` and stays.

use serde::{Deserialize, Deserializer};

/// Null follows the level above, as the word does.
pub(super) fn follow<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Some(Option::deserialize(from)?.unwrap_or_else(|| "follow".to_owned())))
}

/// Null goes back to nothing, as 0 or an empty text does.
pub(super) fn nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    Ok(Some(Option::deserialize(from)?.unwrap_or_default()))
}

/// Null is no value here.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
