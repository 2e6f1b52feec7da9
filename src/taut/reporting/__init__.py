"""One page that shows a file: what it holds, what it cost, and what it was made from."""
