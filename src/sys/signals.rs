//! Signals: giving a command that we become what we were started with, and being interrupted politely.
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Whether whoever started us had SIGPIPE ignored, as systemd does for its services (`IgnoreSIGPIPE=`).
static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Runs before `main`, and so before Rust's runtime sets SIGPIPE to be ignored: afterwards nobody can
/// tell any more what it was.
// SAFETY: the entries of `.init_array` are functions that the C runtime calls once each, before any thread.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = remember_sigpipe;

extern "C" fn remember_sigpipe() {
    if disposition(libc::SIGPIPE) == Some(libc::SIG_IGN) {
        SIGPIPE_WAS_IGNORED.store(true, Ordering::Relaxed);
    }
}

fn disposition(signal: c_int) -> Option<libc::sighandler_t> {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with no new action the call only writes the present one, to memory of the right size.
    let read = unsafe { libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) };
    // SAFETY: the call succeeded, so that it has written the whole structure.
    (read == 0).then(|| unsafe { now.assume_init() }.sa_sigaction)
}

/// Sets SIGPIPE to what it was when this process was started. To be called before another program is
/// executed: an ignored signal stays ignored in it, and `yes | head` would never end.
pub fn restore_sigpipe() {
    if !SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed) {
        // SAFETY: the default action is no function of ours, so there is nothing that must stay valid.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
}

/// The signal that asked this process to end; 0 where none did.
static ASKED_TO_END: AtomicI32 = AtomicI32::new(0);

/// Whether [`note_end`] was called.
static END_IS_NOTED: AtomicBool = AtomicBool::new(false);

/// Makes ^C, a closed terminal and SIGTERM be noted, for [`asked_to_end`], once; the second one kills as ever.
/// What is ignored stays ignored.
pub fn note_end() {
    END_IS_NOTED.store(true, Ordering::Relaxed);
    let handler: extern "C" fn(c_int) = note_signal;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        if disposition(signal) != Some(libc::SIG_IGN) {
            // SAFETY: as in `on_interrupt_say`.
            unsafe { libc::signal(signal, handler as *const () as libc::sighandler_t) };
        }
    }
}

extern "C" fn note_signal(signal: c_int) {
    ASKED_TO_END.store(signal, Ordering::Relaxed);
    // SAFETY: as in `restore_sigpipe`.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Whether a signal that asks this process to end is noted, and has to be looked for: else it ends this process.
pub fn end_is_noted() -> bool {
    END_IS_NOTED.load(Ordering::Relaxed)
}

/// Whether this process was asked to end.
pub fn asked_to_end() -> bool {
    ASKED_TO_END.load(Ordering::Relaxed) != 0
}

/// Dies of the signal that asked for it, so that a shell script sees it and stops as well. Returns where
/// there was none.
pub fn die_as_asked() {
    let signal = ASKED_TO_END.load(Ordering::Relaxed);
    if signal != 0 {
        // SAFETY: as in `say_and_die`.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
}

static LAST_WORDS: OnceLock<String> = OnceLock::new();

/// Makes ^C print `last_words` on standard error before this process dies of it. Where SIGINT is ignored
/// (a background command of a script) it stays ignored.
pub fn on_interrupt_say(last_words: String) {
    if LAST_WORDS.set(last_words).is_err() || disposition(libc::SIGINT) == Some(libc::SIG_IGN) {
        return;
    }
    let handler: extern "C" fn(c_int) = say_and_die;
    // SAFETY: the handler has the signature that a handler without SA_SIGINFO must have, and calls only
    // what `signal-safety(7)` allows.
    unsafe { libc::signal(libc::SIGINT, handler as *const () as libc::sighandler_t) };
}

extern "C" fn say_and_die(signal: c_int) {
    if let Some(words) = LAST_WORDS.get() {
        // SAFETY: pointer and length are those of one string that is never freed.
        unsafe { libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len()) };
    }
    // Dying of the signal, and not by exit(130), tells a shell script that it should stop as well.
    // SAFETY: as in `restore_sigpipe`; raise(3) has no conditions.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
