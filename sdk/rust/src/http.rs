//! Requests to the hosts that the manifest names.

use crate::abi;
use crate::error::{Error, ErrorKind, Of};
use crate::findings;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// The most bytes of a response's body.
pub const MAX_BODY: usize = 1 << 20;

const CALL: &str = "http_request";
const KIND: u8 = 8;

/// A request.
///
/// ```no_run
/// # fn order() -> Result<(), igor_sdk::Error> {
/// use igor_sdk::http::Request;
///
/// let answer = Request::post("https://orders.example.com/", "2 apples").header("Accept", "text/plain").send()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    url: String,
    headers: String,
    body: Vec<u8>,
    room: Option<usize>,
}

impl Request {
    /// A request of any method. One that is neither `GET` nor `HEAD` is a side effect: see
    /// [`EffectLog`](crate::effects::EffectLog). So is one that the manifest lets be paid (x402), of
    /// any method; give it the [`room`](Request::room) that its answer needs, since to ask again is
    /// to pay again.
    pub fn new(method: &str, url: &str) -> Request {
        Request {
            method: method.to_string(),
            url: url.to_string(),
            headers: String::new(),
            body: Vec::new(),
            room: None,
        }
    }

    /// A `GET`.
    pub fn get(url: &str) -> Request {
        Request::new("GET", url)
    }

    /// A `POST`, which is a side effect.
    pub fn post(url: &str, body: impl Into<Vec<u8>>) -> Request {
        Request::new("POST", url).body(body)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Request {
        for part in [name, ": ", value, "\n"] {
            self.headers.push_str(part);
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Sets how large the response's body may be. Without it a `GET` or `HEAD` gets what it
    /// needs, and any other request the most that there is.
    pub fn room(mut self, room: usize) -> Request {
        self.room = Some(room);
        self
    }

    /// Sends it.
    pub fn send(&self) -> Result<Response, Error> {
        let effect = self.method != "GET" && self.method != "HEAD";
        let mut grow = self.room.is_none() && !effect;
        let mut room = self.room.unwrap_or(if grow { 16 << 10 } else { MAX_BODY });
        loop {
            let mut b = vec![0; abi::SIZE + room];
            let parts: [&[u8]; 4] = [
                self.method.as_bytes(),
                self.url.as_bytes(),
                self.headers.trim_end().as_bytes(),
                &self.body,
            ];
            let send = |b: &mut [u8]| abi::http_request(parts[0], parts[1], parts[2], parts[3], b);
            let request = || {
                let mut q = Vec::new();
                for p in parts {
                    findings::part(&mut q, p);
                }
                q
            };
            let status = findings::side_effect(KIND, effect, request, &mut b, send);
            if status >= 0 {
                let body = abi::sized(b).ok_or_else(|| Error::of(CALL, -6, Of::Http))?;
                return Ok(Response {
                    status: status as u16,
                    body,
                    effect,
                });
            }
            let needed = abi::number(&b).saturating_sub(abi::SIZE);
            if !grow || status != -5 || needed <= room || needed > MAX_BODY {
                return Err(Error::of(CALL, status, Of::Http));
            }
            room = needed;
            grow = false;
        }
    }
}

/// What came back, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    effect: bool,
}

impl Response {
    /// The response, if its status is one of success (2xx). It fits
    /// [`EffectLog::act`](crate::effects::EffectLog::act): what a server refuses (4xx) did not
    /// happen, and after any other status, as of a server that failed midway, it may have.
    pub fn ok(self) -> Result<Response, Error> {
        match self.status {
            200..=299 => Ok(self),
            // 408 is what a proxy sends after the fact, too.
            400..=499 if self.status != 408 => {
                Err(Error::status(self.status, ErrorKind::Processing))
            }
            _ if self.effect => Err(Error::status(self.status, ErrorKind::Unresolved)),
            _ => Err(Error::status(self.status, ErrorKind::Failed)),
        }
    }

    /// The body as text, where what is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a `GET`.
pub fn get(url: &str) -> Result<Response, Error> {
    Request::get(url).send()
}

/// Sends a `POST`, which is a side effect.
pub fn post(url: &str, body: impl Into<Vec<u8>>) -> Result<Response, Error> {
    Request::post(url, body).send()
}
