"""What is said. One function a message: facts in, a page out; `render` turns a page into Slack's blocks."""
