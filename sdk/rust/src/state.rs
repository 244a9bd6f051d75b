//! The form of a state: a version, then values, one after the other. Integers are
//! little-endian; bytes and text have their length (u32) before them. All SDKs write the same.

use crate::effects::{self, EffectLog};
use crate::Time;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// A state that saves and loads itself. [`state!`](crate::state!) makes one of a struct.
pub trait State: Sized {
    /// Returns the state. The same state has to give the same bytes.
    fn save(&self) -> Vec<u8>;

    /// Restores what `save` returned.
    fn load(b: &[u8]) -> Result<Self, StateError>;

    /// Calls `each` with every effect log in the state, so that they hear what the host finds
    /// out: see [`findings`](crate::findings).
    fn effects(&mut self, _each: &mut dyn FnMut(&mut EffectLog)) {}
}

/// What can be a field of a [`state!`](crate::state!): `u64`, `i64`, `bool`, [`Time`], `String`,
/// `Vec<u8>`, [`EffectLog`], and a `Vec` of these.
pub trait Field: Sized {
    /// The fewest bytes that one has.
    const SIZE: usize;
    /// Appends the value.
    fn write(&self, e: &mut Encoder);
    /// Reads the next value.
    fn read(d: &mut Decoder<'_>) -> Result<Self, StateError>;
    /// Calls `each` with every effect log in it.
    fn effects(&mut self, _each: &mut dyn FnMut(&mut EffectLog)) {}
}

/// Why a state cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// Of a version that the program does not know.
    Version {
        /// The state's.
        found: u8,
        /// The newest that the program knows.
        newest: u8,
    },
    /// It ends too early.
    CutShort,
    /// A boolean that is neither 0 nor 1.
    Bool,
    /// A text that is no UTF-8.
    Text,
    /// So many bytes are too many.
    Trailing(usize),
    /// Of an effect log.
    Effects(effects::Malformed),
    /// The author's own reason.
    Other(&'static str),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Version { found, newest } => {
                write!(
                    f,
                    "a state of version {}, and the program knows 1 to {}",
                    found, newest
                )
            }
            StateError::CutShort => f.write_str("a state that is cut short"),
            StateError::Bool => f.write_str("a state with a boolean that is neither 0 nor 1"),
            StateError::Text => f.write_str("a state with a text that is not UTF-8"),
            StateError::Trailing(n) => write!(f, "a state with {} bytes too many", n),
            StateError::Effects(e) => e.fmt(f),
            StateError::Other(why) => f.write_str(why),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for StateError {}

/// Writes a state.
#[derive(Debug)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    /// Begins a state of this version.
    pub fn new(version: u8) -> Encoder {
        Encoder(vec![version])
    }

    /// Appends a value.
    pub fn put<T: Field>(&mut self, v: &T) -> &mut Encoder {
        v.write(self);
        self
    }

    /// Appends the number of things that follow.
    pub fn count(&mut self, n: usize) {
        let n = u32::try_from(n).expect("a state has fewer than 4294967296 things of a kind");
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    /// Returns what was written.
    pub fn finish(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.0)
    }

    fn bytes(&mut self, v: &[u8]) {
        self.count(v.len());
        self.0.extend_from_slice(v);
    }
}

/// Reads what an [`Encoder`] wrote.
#[derive(Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
    version: u8,
}

impl<'a> Decoder<'a> {
    /// Reads a state of one of the versions from 1 to `newest`.
    pub fn new(b: &'a [u8], newest: u8) -> Result<Decoder<'a>, StateError> {
        let mut d = Decoder {
            rest: b,
            version: 0,
        };
        d.version = d.take(1)?[0];
        if d.version == 0 || d.version > newest {
            return Err(StateError::Version {
                found: d.version,
                newest,
            });
        }
        Ok(d)
    }

    /// The version of the state.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Reads the next value.
    pub fn get<T: Field>(&mut self) -> Result<T, StateError> {
        T::read(self)
    }

    /// Reads the number of things that follow, each of at least `size` bytes. More than there can
    /// be in what is left are an error.
    pub fn count(&mut self, size: usize) -> Result<usize, StateError> {
        let b = self.take(4)?;
        let n = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        if u64::from(n) * size.max(1) as u64 > self.rest.len() as u64 {
            return Err(StateError::CutShort);
        }
        Ok(n as usize)
    }

    /// Ends it: a state that goes on is an error.
    pub fn finish(self) -> Result<(), StateError> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(StateError::Trailing(n)),
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], StateError> {
        if n > self.rest.len() {
            return Err(StateError::CutShort);
        }
        let (b, rest) = self.rest.split_at(n);
        self.rest = rest;
        Ok(b)
    }

    fn bytes(&mut self) -> Result<&'a [u8], StateError> {
        let n = self.count(1)?;
        self.take(n)
    }
}

impl Field for u64 {
    const SIZE: usize = 8;
    fn write(&self, e: &mut Encoder) {
        e.0.extend_from_slice(&self.to_le_bytes());
    }
    fn read(d: &mut Decoder<'_>) -> Result<u64, StateError> {
        let b = d.take(8)?;
        Ok(u64::from_le_bytes([
            b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
        ]))
    }
}

impl Field for i64 {
    const SIZE: usize = 8;
    fn write(&self, e: &mut Encoder) {
        (*self as u64).write(e);
    }
    fn read(d: &mut Decoder<'_>) -> Result<i64, StateError> {
        Ok(u64::read(d)? as i64)
    }
}

impl Field for bool {
    const SIZE: usize = 1;
    fn write(&self, e: &mut Encoder) {
        e.0.push((*self).into());
    }
    fn read(d: &mut Decoder<'_>) -> Result<bool, StateError> {
        match d.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(StateError::Bool),
        }
    }
}

impl Field for Time {
    const SIZE: usize = 8;
    fn write(&self, e: &mut Encoder) {
        self.unix_nanos().write(e);
    }
    fn read(d: &mut Decoder<'_>) -> Result<Time, StateError> {
        i64::read(d).map(Time::from_unix_nanos)
    }
}

impl Field for String {
    const SIZE: usize = 4;
    fn write(&self, e: &mut Encoder) {
        e.bytes(self.as_bytes());
    }
    fn read(d: &mut Decoder<'_>) -> Result<String, StateError> {
        String::from_utf8(d.bytes()?.to_vec()).map_err(|_| StateError::Text)
    }
}

impl Field for Vec<u8> {
    const SIZE: usize = 4;
    fn write(&self, e: &mut Encoder) {
        e.bytes(self);
    }
    fn read(d: &mut Decoder<'_>) -> Result<Vec<u8>, StateError> {
        d.bytes().map(<[u8]>::to_vec)
    }
}

impl Field for EffectLog {
    const SIZE: usize = 8;
    fn write(&self, e: &mut Encoder) {
        e.bytes(&self.to_bytes());
    }
    fn read(d: &mut Decoder<'_>) -> Result<EffectLog, StateError> {
        EffectLog::from_bytes(d.bytes()?).map_err(StateError::Effects)
    }
    fn effects(&mut self, each: &mut dyn FnMut(&mut EffectLog)) {
        each(self);
    }
}

impl<T: Field> Field for Vec<T> {
    const SIZE: usize = 4;
    fn write(&self, e: &mut Encoder) {
        e.count(self.len());
        for v in self {
            v.write(e);
        }
    }
    fn read(d: &mut Decoder<'_>) -> Result<Vec<T>, StateError> {
        let n = d.count(T::SIZE)?;
        (0..n).map(|_| T::read(d)).collect()
    }
    fn effects(&mut self, each: &mut dyn FnMut(&mut EffectLog)) {
        for v in self {
            v.effects(each);
        }
    }
}

/// Makes a struct a [`State`]: its fields are saved in their order.
///
/// ```
/// use igor_sdk::{state, Time};
///
/// state! {
///     version 1;
///     #[derive(Default)]
///     pub struct Heart {
///         beats: u64,
///         last: Time,
///     }
/// }
/// ```
///
/// Fields that come with another version are read by a [`State`] written by hand, with
/// [`Decoder::version`]. If it has an effect log, it has [`State::effects`] too.
#[macro_export]
macro_rules! state {
    (
        version $version:literal;
        $(#[$meta:meta])*
        $vis:vis struct $name:ident { $( $(#[$fmeta:meta])* $fvis:vis $field:ident : $type:ty ),* $(,)? }
    ) => {
        $(#[$meta])*
        $vis struct $name { $( $(#[$fmeta])* $fvis $field : $type ),* }

        impl $crate::state::State for $name {
            fn save(&self) -> $crate::state::Bytes {
                const VERSION: u8 = $version;
                const _: () = assert!(VERSION > 0, "state!: versions begin with 1");
                let mut e = $crate::state::Encoder::new(VERSION);
                $( $crate::state::Field::write(&self.$field, &mut e); )*
                e.finish()
            }

            fn load(b: &[u8]) -> ::core::result::Result<Self, $crate::state::StateError> {
                #[allow(unused_mut)]
                let mut d = $crate::state::Decoder::new(b, $version)?;
                let state = $name { $( $field: $crate::state::Field::read(&mut d)? ),* };
                d.finish()?;
                ::core::result::Result::Ok(state)
            }

            fn effects(&mut self, _each: &mut dyn FnMut(&mut $crate::effects::EffectLog)) {
                $( $crate::state::Field::effects(&mut self.$field, _each); )*
            }
        }
    };
    (version $version:literal; $(#[$meta:meta])* $vis:vis enum $($rest:tt)*) => {
        $crate::state! { @not "an enum" }
    };
    (version $version:literal; $(#[$meta:meta])* $vis:vis struct $name:ident ( $($rest:tt)*) ;) => {
        $crate::state! { @not "a tuple struct" }
    };
    (version $version:literal; $(#[$meta:meta])* $vis:vis struct $name:ident < $($rest:tt)*) => {
        $crate::state! { @not "a generic struct" }
    };
    (@not $what:literal) => {
        ::core::compile_error!(concat!(
            "state! takes a struct with named fields, not ", $what, "; write its `impl State` by hand"));
    };
    ($(#[$meta:meta])* $vis:vis struct $($rest:tt)*) => {
        ::core::compile_error!("state! begins with the version of the state: `version 1;` before the struct");
    };
    ($($rest:tt)*) => {
        ::core::compile_error!("state! takes a version and a struct with named fields: `version 1; struct Heart { beats: u64 }`");
    };
}

#[doc(hidden)]
pub type Bytes = Vec<u8>;
