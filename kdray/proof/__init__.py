"""Is an artifact what its record promises, and is every row of it of the pair that it names?"""
