"""Reports on runs and sweeps: tables, comparisons, figures and a page. Reads run directories only, never imports torch."""
