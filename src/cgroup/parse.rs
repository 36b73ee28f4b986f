//! The files of a cgroup, as text. Pure, and safe for any bytes.

use crate::enforced::Limit;
use crate::enforced::io::IoMost;
use crate::quantity::{Bytes, MilliCpu};

/// `cpu.max`: a quota or `max`, and a period, both in microseconds.
pub fn parse_cpu_max(bytes: &[u8]) -> Option<Limit<MilliCpu>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (quota, period) = text.strip_suffix('\n').unwrap_or(text).split_once(' ')?;
    let period = u128::from(digits(period)?);
    if quota == "max" {
        return Some(Limit::Max);
    }
    let milli = u128::from(digits(quota)?).checked_mul(1000)?.checked_div(period)?;
    u64::try_from(milli).ok().map(|milli| Limit::At(MilliCpu(milli)))
}

/// `memory.max`, `memory.swap.max`, `pids.max`: a number or `max`.
pub fn parse_limit<T>(bytes: &[u8], quantity: impl FnOnce(u64) -> T) -> Option<Limit<T>> {
    match bytes.strip_suffix(b"\n").unwrap_or(bytes) {
        b"max" => Some(Limit::Max),
        _ => parse_number(bytes).map(quantity).map(Limit::At),
    }
}

/// `io.max`: a line for each disk with a bound, its numbers and then `rbps`, `wbps`, `riops` and `wiops`, each a number or `max`.
pub fn parse_io_max(bytes: &[u8]) -> Option<Vec<IoMost>> {
    std::str::from_utf8(bytes).ok()?.lines().map(parse_io_line).collect()
}

fn parse_io_line(line: &str) -> Option<IoMost> {
    let mut words = line.split(' ');
    let (major, minor) = words.next()?.split_once(':')?;
    digits(major).and(digits(minor))?;
    let mut most = IoMost::default();
    for word in words {
        let (key, figure) = word.split_once('=')?;
        let figure = if figure == "max" { None } else { Some(digits(figure)?) };
        match key {
            "rbps" => most.read = figure.map(Bytes),
            "wbps" => most.write = figure.map(Bytes),
            "riops" => most.read_ops = figure,
            "wiops" => most.write_ops = figure,
            // What a kernel may say beside them.
            _ => {}
        }
    }
    Some(most)
}

/// A file that holds one number.
pub fn parse_number(bytes: &[u8]) -> Option<u64> {
    digits(std::str::from_utf8(bytes.strip_suffix(b"\n").unwrap_or(bytes)).ok()?)
}

/// A file with a key and a number on each line.
pub fn parse_key(bytes: &[u8], key: &str) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    digits(text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?)
}

/// `memory.stat`: the bytes of page cache that are neither dirty nor being written. Shared memory is on the lists of anonymous
/// memory, and not among them.
pub fn parse_clean_cache(bytes: &[u8]) -> Option<Bytes> {
    let of = |key| parse_key(bytes, key);
    let cache = of("inactive_file")?.saturating_add(of("active_file")?);
    Some(Bytes(cache.saturating_sub(of("file_dirty")?).saturating_sub(of("file_writeback")?)))
}

/// `memory.stat`: the bytes that programs need, which is all but page cache: their own memory, what they share (files in
/// `/dev/shm` too), and what the kernel and sockets hold for them. `None` where a part is not told: `kernel` is there since
/// Linux 5.18.
pub fn parse_needed(bytes: &[u8]) -> Option<Bytes> {
    let mut parts = ["anon", "shmem", "kernel", "sock"].into_iter().map(|key| parse_key(bytes, key));
    parts.try_fold(0_u64, |sum, part| Some(sum.saturating_add(part?))).map(Bytes)
}

/// `*.pressure`: the `avg10` of the line `some`, a percentage with two decimals, in hundredths.
pub fn parse_pressure(bytes: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(bytes).ok()?;
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let avg10 = some.split(' ').find_map(|field| field.strip_prefix("avg10="))?;
    let (whole, hundredths) = avg10.split_once('.').filter(|(_, hundredths)| hundredths.len() == 2)?;
    let centipercent = digits(whole)?.checked_mul(100)?.checked_add(digits(hundredths)?)?;
    u32::try_from(centipercent).ok()
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotas_are_shares_of_their_period() {
        assert_eq!(parse_cpu_max(b"150000 100000\n"), Some(Limit::At(MilliCpu(1500))));
        assert_eq!(parse_cpu_max(b"1000 100000\n"), Some(Limit::At(MilliCpu(10))));
        assert_eq!(parse_cpu_max(b"50000 50000"), Some(Limit::At(MilliCpu(1000))));
        // What nobody could have set by us: the part of a thousandth is dropped.
        assert_eq!(parse_cpu_max(b"12345 100000\n"), Some(Limit::At(MilliCpu(123))));
        assert_eq!(parse_cpu_max(b"max 100000\n"), Some(Limit::Max));
        for wrong in ["", "\n", "max", "max \n", "100000", "100000 0\n", "-1 100000\n", "1 2 3\n", "+1 2\n"] {
            assert_eq!(parse_cpu_max(wrong.as_bytes()), None, "{wrong:?}");
        }
        assert_eq!(parse_cpu_max(b"18446744073709551615 1\n"), None);
    }

    #[test]
    fn limits_are_numbers_or_max() {
        assert_eq!(parse_limit(b"8589934592\n", Bytes), Some(Limit::At(Bytes(8 << 30))));
        assert_eq!(parse_limit(b"0\n", Bytes), Some(Limit::At(Bytes(0))));
        assert_eq!(parse_limit(b"max\n", Bytes), Some(Limit::Max));
        for wrong in
            ["", "\n", "maxi\n", " 1\n", "1\n\n", "1 2\n", "-1\n", "18446744073709551616\n", "\u{663}\n"]
        {
            assert_eq!(parse_limit(wrong.as_bytes(), Bytes), None, "{wrong:?}");
        }
    }

    #[test]
    fn bounds_of_disks_are_a_line_each() {
        let lines =
            b"254:0 rbps=8388608 wbps=max riops=max wiops=120\n8:16 rbps=1 wbps=2 riops=3 wiops=4 new=5\n";
        let first = IoMost { read: Some(Bytes(8 << 20)), write_ops: Some(120), ..IoMost::default() };
        let second =
            IoMost { read: Some(Bytes(1)), write: Some(Bytes(2)), read_ops: Some(3), write_ops: Some(4) };
        assert_eq!(parse_io_max(lines), Some(vec![first, second]));
        assert_eq!(parse_io_max(b""), Some(Vec::new()));
        for wrong in
            ["\n", "254 rbps=1\n", "254:0 rbps\n", "254:0 rbps=-1\n", "a:0 rbps=1\n", "254:0  rbps=1\n"]
        {
            assert_eq!(parse_io_max(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn keys_are_whole_words() {
        let events = b"low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 7\n";
        assert_eq!(parse_key(events, "oom_kill"), Some(1));
        assert_eq!(parse_key(events, "oom"), Some(2));
        assert_eq!(parse_key(events, "oom_"), None);
        assert_eq!(parse_key(b"populated", "populated"), None);
    }

    #[test]
    fn clean_cache_is_what_no_disk_waits_for() {
        let stat = "anon 7\nfile 900\nshmem 300\nfile_dirty 50\nfile_writeback 30\ninactive_anon 1\nactive_anon 2\n\
                    inactive_file 400\nactive_file 200\nunevictable 9\n";
        assert_eq!(parse_clean_cache(stat.as_bytes()), Some(Bytes(520)));
        let dirty = stat.replace("file_dirty 50", "file_dirty 5000");
        assert_eq!(parse_clean_cache(dirty.as_bytes()), Some(Bytes(0)));
        for key in ["file_dirty", "file_writeback", "\ninactive_file", "\nactive_file"] {
            assert_eq!(parse_clean_cache(stat.replace(key, "\nother").as_bytes()), None, "{key}");
        }
    }

    #[test]
    fn needed_is_not_cache() {
        // The beginning of the file of a share in Linux 6.12, with 150 MiB of a program's own and 300 MiB of files.
        let stat = "anon 157286400\nfile 314572800\nkernel 2097152\nkernel_stack 65536\npagetables 524288\n\
                    sec_pagetables 0\npercpu 0\nsock 4096\nvmalloc 0\nshmem 1048576\nfile_mapped 0\nanon_thp 9\n";
        let sum = 157_286_400 + 2_097_152 + 4096 + 1_048_576;
        assert_eq!(parse_needed(stat.as_bytes()), Some(Bytes(sum)));
        for key in ["anon ", "\nkernel ", "\nsock ", "\nshmem "] {
            assert_eq!(parse_needed(stat.replacen(key, "\nother ", 1).as_bytes()), None, "{key}");
        }
        let most = stat.replace("157286400", &u64::MAX.to_string());
        assert_eq!(parse_needed(most.as_bytes()), Some(Bytes(u64::MAX)));
    }

    #[test]
    fn pressure_is_the_last_ten_seconds() {
        let pressure = b"some avg10=12.34 avg60=1.00 avg300=0.00 total=99\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(parse_pressure(pressure), Some(1234));
        for wrong in ["", "full avg10=1.00\n", "some avg60=1.00\n", "some avg10=1.0\n", "some avg10=.00x\n"] {
            assert_eq!(parse_pressure(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_parse(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_cpu_max(&bytes);
            let _ = parse_limit(&bytes, Bytes);
            let _ = parse_key(&bytes, "oom_kill");
            let _ = parse_pressure(&bytes);
            let _ = parse_clean_cache(&bytes);
            let _ = parse_needed(&bytes);
            let _ = parse_io_max(&bytes);
        }

        #[test]
        fn every_cpu_figure_comes_back(hundredths in 1u64..=100_000_000) {
            let milli = hundredths * 10;
            // What systemd writes: the quota for its period of 100 ms.
            let file = format!("{} 100000\n", milli * 100);
            prop_assert_eq!(parse_cpu_max(file.as_bytes()), Some(Limit::At(MilliCpu(milli))));
        }
    }
}
