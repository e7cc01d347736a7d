//! Decimal numbers between their digits and Avro's two's complement, without a float between.

/// The logical type `decimal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    /// How many digits a value has at most.
    pub(crate) precision: usize,
    /// How many of them stand behind the point.
    pub(crate) scale: usize,
}

/// The largest precision that is taken: what is beyond would be slow to turn around.
pub(crate) const PRECISION_MAX: usize = 4096;

/// Digits that fit one word of a long number.
const WORD_DIGITS: usize = 9;
const WORD: u64 = 1_000_000_000;

impl Decimal {
    /// The unscaled number of a decimal text (JSON's grammar), in as few bytes of two's complement as hold it.
    pub(crate) fn read(self, text: &str) -> Result<Vec<u8>, String> {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = [whole, fraction].concat();
        let kept = digits.trim_end_matches('0').len();
        let dropped = digits.len() - kept;
        digits.truncate(kept);
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Ok(vec![0]);
        }
        let exponent: i64 = exponent.parse().map_err(|_| self.too_long())?;
        // The number is `digits` times ten to the power of this.
        let power = exponent.saturating_sub(fraction.len() as i64).saturating_add(dropped as i64);
        let zeros = power.saturating_add(self.scale as i64);
        let zeros = usize::try_from(zeros)
            .map_err(|_| format!("wants at most {} digits behind the point", self.scale))?;
        if digits.len().saturating_add(zeros) > self.precision {
            return Err(self.too_long());
        }
        Ok(bytes_of_digits(&format!("{digits}{}", "0".repeat(zeros)), is_negative))
    }

    /// The text of an unscaled number, with all digits behind the point.
    pub(crate) fn text(self, bytes: &[u8]) -> Result<String, String> {
        let (is_negative, digits) = digits_of_bytes(bytes, self.precision).ok_or_else(|| self.too_long())?;
        if digits.len() > self.precision && digits != "0" {
            return Err(self.too_long());
        }
        let sign = if is_negative { "-" } else { "" };
        if self.scale == 0 {
            return Ok(format!("{sign}{digits}"));
        }
        let digits = format!("{digits:0>width$}", width = self.scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale);
        Ok(format!("{sign}{whole}.{fraction}"))
    }

    fn too_long(self) -> String {
        format!("wants at most {} digits, {} of them behind the point", self.precision, self.scale)
    }
}

/// Lets the sign go on to the left until there are `size` bytes; `None`: there are more already.
pub(crate) fn widened(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let missing = size.checked_sub(bytes.len())?;
    let sign = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = vec![sign; missing];
    wide.extend_from_slice(bytes);
    Some(wide)
}

fn bytes_of_digits(digits: &str, is_negative: bool) -> Vec<u8> {
    if let Ok(number) = digits.parse::<i128>() {
        let number = if is_negative { -number } else { number };
        return shortened(&number.to_be_bytes()).to_vec();
    }
    // Little-endian bytes: times ten to the ninth, plus the next nine digits, and again.
    let mut bytes: Vec<u8> = Vec::with_capacity(digits.len() / 2 + 1);
    let first = digits.len() % WORD_DIGITS;
    let (head, tail) = digits.split_at(first);
    let words = tail.as_bytes().chunks(WORD_DIGITS).map(std::str::from_utf8);
    for word in std::iter::once(Ok(head)).chain(words) {
        let mut carry: u64 = word.unwrap_or_default().parse().unwrap_or(0);
        for byte in &mut bytes {
            carry += u64::from(*byte) * WORD;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    bytes.push(0);
    bytes.reverse();
    if is_negative {
        negate(&mut bytes);
    }
    shortened(&bytes).to_vec()
}

/// Sign and digits; `None`: there are far more digits than `digits_max`.
fn digits_of_bytes(bytes: &[u8], digits_max: usize) -> Option<(bool, String)> {
    let bytes = shortened(bytes);
    if bytes.len() <= 16 {
        let sign = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [sign; 16];
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        let number = i128::from_be_bytes(wide);
        return Some((number < 0, number.unsigned_abs().to_string()));
    }
    // A byte is a bit more than 2.4 digits.
    if bytes.len() > digits_max / 2 + 2 {
        return None;
    }
    let is_negative = bytes[0] & 0x80 != 0;
    let mut bytes = bytes.to_vec();
    if is_negative {
        negate(&mut bytes);
    }
    let mut words = Vec::new();
    while bytes.iter().any(|byte| *byte != 0) {
        let mut rest = 0;
        for byte in &mut bytes {
            rest = rest << 8 | u64::from(*byte);
            *byte = (rest / WORD) as u8;
            rest %= WORD;
        }
        words.push(rest);
    }
    let mut digits = words.pop().unwrap_or(0).to_string();
    for word in words.iter().rev() {
        digits.push_str(&format!("{word:0>9}"));
    }
    Some((is_negative, digits))
}

/// Without bytes on the left that say no more than the sign.
fn shortened(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [first, rest @ ..] = bytes
        && let Some(next) = rest.first()
        && ((*first == 0 && next & 0x80 == 0) || (*first == 0xff && next & 0x80 != 0))
    {
        bytes = rest;
    }
    bytes
}

/// Two's complement of big-endian bytes.
fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        let (negated, carried) = (!*byte).overflowing_add(u8::from(carry));
        *byte = negated;
        carry = carried;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(precision: usize, scale: usize) -> Decimal {
        Decimal { precision, scale }
    }

    #[test]
    fn a_decimal_is_its_digits_whatever_its_notation() {
        let two = decimal(10, 2);
        for (text, bytes) in [
            ("1.5", &[0, 150][..]),
            ("1.50", &[0, 150]),
            ("150e-2", &[0, 150]),
            ("0.0015E3", &[0, 150]),
            ("-0.01", &[0xff]),
            ("-1.28", &[0x80]),
            ("0", &[0]),
            ("-0.000", &[0]),
            ("0e99999999999999999999", &[0]),
        ] {
            assert_eq!(two.read(text).as_deref(), Ok(bytes), "{text}");
        }
        assert_eq!(two.text(&[0, 150]).as_deref(), Ok("1.50"));
        assert_eq!(two.text(&[0xff, 0xff, 0xff]).as_deref(), Ok("-0.01"));
        assert_eq!(two.text(&[]).as_deref(), Ok("0.00"));
    }

    #[test]
    fn a_decimal_that_would_lose_a_digit_is_refused() {
        for text in ["1.234", "1e-3", "123456789", "1e8", "1e99999999999999999999", "-99999999.999"] {
            assert!(decimal(10, 2).read(text).is_err(), "{text}");
        }
        assert!(decimal(10, 2).read("99999999.99").is_ok());
        assert!(decimal(3, 0).text(&[0x03, 0xe8]).is_err());
        assert!(decimal(3, 0).text(&vec![1; 1 << 20]).is_err());
    }

    #[test]
    fn decimals_longer_than_any_integer_keep_their_digits() {
        let wide = decimal(120, 20);
        for text in [
            "12345678901234567890123456789012345678901234567890.12345678901234567890",
            "-12345678901234567890123456789012345678901234567890.12345678901234567890",
            "170141183460469231731687303715884105728.00000000000000000000",
            "-100000000000000000000000000000000000000000000000000000000000000.00000000000000000001",
        ] {
            let bytes = wide.read(text).unwrap();
            assert_eq!(wide.text(&bytes).as_deref(), Ok(text));
        }
    }
}
