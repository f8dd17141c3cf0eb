//! Header blocks: names and values, compressed with zlib and a dictionary both sides know (draft 3,
//! section 2.6.10.1). One zlib stream runs through all header blocks of a direction.

use std::io;
use std::sync::LazyLock;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

/// The words of the dictionary; each stands in it with its length before it.
const WORDS: &[&str] = &[
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];
/// The dictionary's end, which has no lengths.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for word in WORDS {
        all.extend_from_slice(&u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
        all.extend_from_slice(word.as_bytes());
    }
    all.extend_from_slice(TAIL.as_bytes());
    all
});

/// A header block is a few names and values; one that unpacks to more is an attack.
const LARGEST_BLOCK: usize = 64 << 10;

/// Headers in their order; names are lower case.
pub(super) type Headers = Vec<(String, String)>;

fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("SPDY header block: {what}"),
    )
}

/// Reads the header blocks of one direction.
pub(super) struct Reader(Decompress);

impl Reader {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Reads one block.
    pub(super) fn read(&mut self, mut block: &[u8]) -> io::Result<Headers> {
        let mut plain = Vec::with_capacity(1024);
        while !block.is_empty() {
            if plain.len() >= LARGEST_BLOCK {
                return Err(broken("too large"));
            }
            plain.reserve(1024);
            let (before_in, before_out) = (self.0.total_in(), self.0.total_out());
            let result = self
                .0
                .decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let consumed = usize::try_from(self.0.total_in() - before_in).unwrap_or(block.len());
            block = &block[consumed.min(block.len())..];
            match result {
                Ok(_) => {
                    if consumed == 0 && self.0.total_out() == before_out {
                        return Err(broken("does not unpack"));
                    }
                }
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&DICTIONARY)
                        .map_err(|error| broken(&error.to_string()))?;
                }
                Err(error) => return Err(broken(&error.to_string())),
            }
        }
        parse(&plain)
    }
}

fn parse(mut plain: &[u8]) -> io::Result<Headers> {
    let number = |plain: &mut &[u8]| -> io::Result<usize> {
        let (first, rest) = plain
            .split_first_chunk::<4>()
            .ok_or_else(|| broken("ends early"))?;
        *plain = rest;
        Ok(u32::from_be_bytes(*first) as usize)
    };
    let count = number(&mut plain)?;
    let mut headers = Headers::new();
    for _ in 0..count {
        let mut text = || -> io::Result<String> {
            let length = number(&mut plain)?;
            let (text, rest) = plain
                .split_at_checked(length)
                .ok_or_else(|| broken("ends early"))?;
            plain = rest;
            String::from_utf8(text.to_vec()).map_err(|_| broken("is not text"))
        };
        let (name, value) = (text()?, text()?);
        headers.push((name.to_ascii_lowercase(), value));
    }
    Ok(headers)
}

/// Writes the header blocks of one direction.
pub(super) struct Writer(Compress);

impl Writer {
    pub(super) fn new() -> io::Result<Self> {
        let mut compress = Compress::new(Compression::default(), true);
        compress
            .set_dictionary(&DICTIONARY)
            .map_err(|error| broken(&error.to_string()))?;
        Ok(Self(compress))
    }

    /// Writes one block.
    pub(super) fn write(&mut self, headers: &[(String, String)]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        plain.extend_from_slice(&length(headers.len()));
        for (name, value) in headers {
            for text in [name, value] {
                plain.extend_from_slice(&length(text.len()));
                plain.extend_from_slice(text.as_bytes());
            }
        }
        let mut block = Vec::with_capacity(plain.len() + 64);
        let start = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - start).unwrap_or(plain.len());
            block.reserve(256);
            let room = block.capacity() - block.len();
            let before = block.len();
            self.0
                .compress_vec(&plain[done..], &mut block, FlushCompress::Sync)
                .map_err(|error| broken(&error.to_string()))?;
            // A flush that left room is complete.
            if block.len() - before < room {
                return Ok(block);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_dictionary_is_the_one_the_protocol_names() {
        // Its Adler-32 checksum stands at the start of every SPDY/3 session.
        let block = Writer::new().unwrap().write(&[]).unwrap();
        assert_eq!(block[2..6], [0xe3, 0xc6, 0xa7, 0xc2]);
    }

    #[test]
    fn blocks_of_one_direction_build_on_each_other() {
        let (mut writer, mut reader) = (Writer::new().unwrap(), Reader::new());
        for round in 0..3 {
            let sent = headers(&[
                ("streamtype", "error"),
                ("port", "80"),
                ("requestid", &round.to_string()),
            ]);
            assert_eq!(reader.read(&writer.write(&sent).unwrap()).unwrap(), sent);
        }
        let long = headers(&[("x", &"y".repeat(5000))]);
        assert_eq!(reader.read(&writer.write(&long).unwrap()).unwrap(), long);
    }

    #[test]
    fn nonsense_and_bombs_are_refused() {
        assert!(Reader::new().read(b"nonsense").is_err());
        let bomb = headers(&[("x", &"y".repeat(1 << 20))]);
        let block = Writer::new().unwrap().write(&bomb).unwrap();
        assert!(Reader::new().read(&block).is_err());
        assert!(parse(&[0, 0, 0, 1, 255, 255, 255, 255]).is_err());
    }
}
