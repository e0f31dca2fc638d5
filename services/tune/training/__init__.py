"""The process that trains one adapter: it reads a folder and writes into it, and knows neither network nor database."""
