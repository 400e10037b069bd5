/**
 * A demo that is killed with −9 cannot stop its children: so the children, which find its process id in PONAS_PARENT,
 * watch it. Calls `gone` once when it is no longer there.
 */
export function watchParent(gone: () => void): void {
  const parent = Number(process.env.PONAS_PARENT ?? 0);
  if (parent === 0) return;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    gone();
  }, 500);
  timer.unref();
}
