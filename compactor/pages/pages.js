// Follows a running job, prints, and lets Escape close what hovering shows. Without it every page works all the same.

const everyMs = 1_000;

async function follow() {
  const jobs = document.getElementById('jobs');
  if (jobs?.dataset.running !== 'yes') return;
  try {
    const answer = await fetch('/now/jobs', { redirect: 'error' });
    if (answer.ok) {
      const parsed = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('jobs');
      if (parsed !== null) replace(jobs, parsed);
    } else if (answer.status < 500) return;
  } catch {
    // serve may be starting again: it is asked once more.
  }
  setTimeout(follow, everyMs);
}

/** What did not change stays, so that a screen reader hears what is new alone, and a bar moves instead of blinking. */
function replace(before, after) {
  const [bar, next] = [before.querySelector('progress'), after.querySelector('progress')];
  if (bar !== null && next !== null) {
    for (const name of ['max', 'value']) {
      const value = next.getAttribute(name);
      if (value === null) bar.removeAttribute(name);
      else bar.setAttribute(name, value);
    }
    const [said, says] = [before.querySelectorAll('[role=status] p'), after.querySelectorAll('[role=status] p')];
    for (const [index, line] of [...said].entries()) {
      if (line.textContent !== says[index]?.textContent) line.replaceChildren(...(says[index]?.childNodes ?? []));
    }
    return;
  }
  before.replaceWith(after);
}

for (const button of document.querySelectorAll('[data-print]')) {
  button.hidden = false;
  button.addEventListener('click', () => print());
}
const root = document.documentElement;
document.addEventListener('keydown', ({ key }) => {
  if (key === 'Escape') root.classList.add('quiet');
});
for (const name of ['pointerover', 'focusin']) document.addEventListener(name, () => root.classList.remove('quiet'));
follow();
