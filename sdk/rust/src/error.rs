use core::fmt;

/// A hostcall that failed, or an answer that says so.
///
/// ```
/// use igor_sdk::{http, kv, Error, ErrorKind};
///
/// fn price() -> Result<Vec<u8>, Error> {
///     match kv::get("price") {
///         Err(e) if e.kind() == ErrorKind::NotFound => Ok(http::get("https://api.example.com/price")?.ok()?.body),
///         known => known,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    call: &'static str,
    code: i32,
    kind: ErrorKind,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The network, a budget that is too small, or nothing of the kind is there.
    Failed,
    /// What was given is over a limit.
    TooLong,
    /// The manifest does not allow it, or it does not work where it was called.
    NotAllowed,
    /// No answer in time, of `http`.
    Timeout,
    /// More than the manifest lets the agent pay.
    OverCap,
    /// What came back is too large, of `http` and `x402`.
    TooLarge,
    /// The store has no such key.
    NotFound,
    /// The store is full.
    Full,
    /// Refused or malformed.
    Processing,
    /// A side effect that may have happened.
    Unresolved,
    /// Paid for, and not delivered: it happened, and the receipt is in the wallet.
    NotDelivered,
    /// A payment that was never made, and never will be.
    NotSettled,
    /// The agent does not live on a node.
    NotOnNode,
}

/// The capabilities whose results -4, -5 and -6 differ.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Of {
    Rand,
    Wallet,
    Http,
    Pay,
    Kv,
    Node,
}

impl Error {
    /// Makes an error of a hostcall's negative result.
    pub(crate) fn of(call: &'static str, code: i32, of: Of) -> Error {
        use ErrorKind::*;
        let kind = match (code, of) {
            (-1, Of::Node) => NotOnNode,
            (-2, _) => TooLong,
            (-3, _) => NotAllowed,
            (-4, Of::Http) => Timeout,
            (-4, Of::Pay) => OverCap,
            (-5, Of::Http) | (-5, Of::Pay) => TooLarge,
            (-5, Of::Kv) => NotFound,
            (-6, Of::Kv) => Full,
            (-6, _) => Processing,
            (-7, _) => Unresolved,
            (-8, Of::Http) => NotDelivered,
            (-9, Of::Http) => NotSettled,
            _ => Failed,
        };
        Error { call, code, kind }
    }

    pub(crate) fn status(status: u16, kind: ErrorKind) -> Error {
        Error {
            call: "http_request",
            code: status.into(),
            kind,
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the hostcall returned: negative, or the status of a response.
    pub fn code(&self) -> i32 {
        self.code
    }

    /// Whether a side effect that ended so may have happened all the same: the answer is lost,
    /// or was too large. Of [`NotDelivered`](ErrorKind::NotDelivered) it certainly did. Other errors
    /// say that it certainly did not.
    pub fn may_have_happened(&self) -> bool {
        use ErrorKind::*;
        match self.kind {
            Unresolved | NotDelivered | TooLarge | Timeout => true,
            Failed => self.call == "http_request",
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.call)?;
        if self.code > 0 {
            write!(f, ": status {}", self.code)?;
        }
        write!(f, ": {}", self.kind)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::Failed => "failed",
            ErrorKind::TooLong => "input too long",
            ErrorKind::NotAllowed => "not allowed",
            ErrorKind::Timeout => "timeout",
            ErrorKind::OverCap => "amount over the cap",
            ErrorKind::TooLarge => "what came back is too large",
            ErrorKind::NotFound => "not found",
            ErrorKind::Full => "the store is full",
            ErrorKind::Processing => "refused or malformed",
            ErrorKind::Unresolved => "unresolved: it may have happened",
            ErrorKind::NotDelivered => "paid, not delivered",
            ErrorKind::NotSettled => "payment not settled",
            ErrorKind::NotOnNode => "not on a node",
        })
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Error {}
