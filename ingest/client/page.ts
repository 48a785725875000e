/** The page that the client runs in, as far as it matters: it can go away. */

export interface Page {
  readonly location: { readonly href: string };
  /** Calls `run` each time the page may be about to go. Returns the function that ends it. */
  onHide(run: () => void): () => void;
}

interface Target {
  addEventListener(type: string, listener: () => void): void;
  removeEventListener(type: string, listener: () => void): void;
}

/** Undefined outside a page. */
export function pageHere(): Page | undefined {
  const window = globalThis as unknown as Target & {
    readonly location: { readonly href: string };
    readonly document?: Target & { readonly visibilityState: string };
  };
  const { document } = window;
  if (document === undefined) return undefined;
  return {
    location: window.location,
    onHide(run) {
      // On a telephone this is often the last that a page hears.
      const whenHidden = () => {
        if (document.visibilityState === 'hidden') run();
      };
      document.addEventListener('visibilitychange', whenHidden);
      window.addEventListener('pagehide', run);
      return () => {
        document.removeEventListener('visibilitychange', whenHidden);
        window.removeEventListener('pagehide', run);
      };
    },
  };
}
