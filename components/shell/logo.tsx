/** The mark: a gate in a channel, half open. */
export function Logo({ className }: { className?: string }) {
  return (
    <svg aria-hidden viewBox="0 0 24 24" className={className} fill="none">
      <rect width="24" height="24" rx="6" className="fill-accent" />
      <path d="M6 5v14M18 5v14" stroke="#fff" strokeWidth="2" strokeLinecap="round" />
      <rect x="8.5" y="5" width="7" height="7" rx="1" fill="#fff" />
      <path d="M8.5 16c1.2-1 2.3-1 3.5 0s2.3 1 3.5 0" stroke="#fff" strokeWidth="1.8" strokeLinecap="round" />
    </svg>
  );
}
