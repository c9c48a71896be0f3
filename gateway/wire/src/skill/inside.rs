//! Elements of lists, checked while the parser still knows where they stand, so that a refusal names their own line and
//! not the list's (`serde(try_from)` checks a moment later).

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A text that becomes a `T`.
pub(super) fn text<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: TryFrom<String, Error = String>,
    D: Deserializer<'de>,
{
    from.deserialize_str(Text(PhantomData))
}

/// A table that is read as `K` and becomes a `T`.
pub(super) fn table<'de, K, T, D>(from: D) -> Result<T, D::Error>
where
    K: Deserialize<'de>,
    T: TryFrom<K, Error = String>,
    D: Deserializer<'de>,
{
    from.deserialize_map(Table(PhantomData::<(K, T)>))
}

struct Text<T>(PhantomData<T>);

impl<T: TryFrom<String, Error = String>> Visitor<'_> for Text<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::try_from(text.to_owned()).map_err(E::custom)
    }
}

struct Table<P>(PhantomData<P>);

impl<'de, K: Deserialize<'de>, T: TryFrom<K, Error = String>> Visitor<'de> for Table<(K, T)> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let keys = K::deserialize(MapAccessDeserializer::new(map))?;
        T::try_from(keys).map_err(A::Error::custom)
    }
}
