//! Options of a URL that the driver does not know, or not all values of.

use percent_encoding::percent_decode_str;

/// Takes the options of these names out of a URL, whose rest is the driver's; of several, the last one counts.
///
/// # Errors
/// A value is not UTF-8; the message names the option alone.
pub(crate) fn take<const N: usize>(
    url: &str,
    names: [&str; N],
) -> Result<(String, [Option<String>; N]), String> {
    let mut taken = [const { None }; N];
    // As the driver reads it: a `?` before the `@` is the password's.
    let credentials = url.find('@').unwrap_or(0);
    let Some(mark) = url[credentials..].find('?') else { return Ok((url.to_owned(), taken)) };
    let (place, query) = (&url[..credentials + mark], &url[credentials + mark + 1..]);
    let mut rest = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match names.iter().position(|known| *known == name) {
            Some(which) => {
                let value = percent_decode_str(value).decode_utf8();
                taken[which] = Some(value.map_err(|_| format!("{name} is not UTF-8"))?.into_owned());
            }
            None => rest.push(pair),
        }
    }
    let url = if rest.is_empty() { place.to_owned() } else { format!("{place}?{}", rest.join("&")) };
    Ok((url, taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_out_and_the_rest_is_the_drivers() {
        for (url, rest, taken) in [
            ("postgres://u:p@h/d", "postgres://u:p@h/d", [None, None]),
            ("postgres://u:p@h/d?c=d", "postgres://u:p@h/d?c=d", [None, None]),
            ("postgres://u:p@h/d?a=1", "postgres://u:p@h/d", [Some("1"), None]),
            (
                "postgres://u:p@h/d?x=y&b=%2Fca%20s&c=d&a=1&a=2",
                "postgres://u:p@h/d?x=y&c=d",
                [Some("2"), Some("/ca s")],
            ),
            ("postgres://u:p?q@h/d?a=1", "postgres://u:p?q@h/d", [Some("1"), None]),
        ] {
            let expected = (rest.to_owned(), taken.map(|value| value.map(str::to_owned)));
            assert_eq!(take(url, ["a", "b"]).unwrap(), expected);
        }
        assert_eq!(take("postgres://h/d?a=%ff", ["a"]).unwrap_err(), "a is not UTF-8");
    }
}
