//! Who acts, and why.

use eventferry::core::parked::Act;

use crate::arguments::PersonArguments;
use crate::ending::Trouble;

/// The longest name that the audit table keeps, in characters.
const WHO_CHARS_MAX: usize = 200;

/// The longest reason that it keeps, in characters.
const WHY_CHARS_MAX: usize = 1_000;

/// Who acts: as `--who` says, else the user under which this process runs.
///
/// # Errors
/// There is no name, or one of the texts is too long to be kept.
pub(crate) fn act(arguments: &PersonArguments) -> Result<Act, Trouble> {
    let who = match &arguments.who {
        Some(who) => who.clone(),
        None => whoami::username().map_err(|_| {
            Trouble::usage("the operating system has no name for this user; say who decides by --who NAME")
        })?,
    };
    let why = arguments.why.clone().unwrap_or_default();
    let length = who.chars().count();
    if !(1..=WHO_CHARS_MAX).contains(&length) || who.contains('\0') {
        return Err(Trouble::usage(format!(
            "--who: a name has 1 to {WHO_CHARS_MAX} characters and no zero byte, and this one has {length}"
        )));
    }
    let length = why.chars().count();
    if length > WHY_CHARS_MAX || why.contains('\0') {
        return Err(Trouble::usage(format!(
            "--why: a reason has at most {WHY_CHARS_MAX} characters and no zero byte, and this one has {length}"
        )));
    }
    Ok(Act { who, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(who: Option<&str>, why: Option<&str>) -> Result<Act, Trouble> {
        act(&PersonArguments { who: who.map(str::to_owned), why: why.map(str::to_owned) })
    }

    #[test]
    fn somebody_always_acts() {
        assert_eq!(of(Some("ada"), None).unwrap(), Act { who: "ada".into(), why: String::new() });
        assert!(!of(None, Some("because")).unwrap().who.is_empty());
    }

    #[test]
    fn what_the_audit_table_cannot_keep_is_refused() {
        assert!(of(Some(""), None).unwrap_err().message.starts_with("--who: "));
        assert!(of(Some(&"x".repeat(201)), None).unwrap_err().message.contains("has 201"));
        assert!(of(Some("a"), Some(&"x".repeat(1_001))).unwrap_err().message.contains("has 1001"));
        assert!(of(Some(&"ö".repeat(200)), Some(&"ö".repeat(1_000))).is_ok());
    }
}
